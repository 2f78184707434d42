#include "core/engine/onnx_reader.h"

#include <algorithm>

#include "core/engine/wire.h"

namespace wutdet::engine {
namespace {

// Of one node. Detectors have up to 70 inputs of a Concat and six attributes.
constexpr std::size_t kMostOperands = 1024, kMostAttributes = 32, kMostAttributesOfFile = 200'000;
constexpr std::size_t kLongestName = 4096;

// Numbers of onnx.proto's TensorProto.DataType.
DataType data_type_of(std::int64_t number) {
  switch (number) {
    case 1: return DataType::F32;
    case 2: return DataType::U8;
    case 3: return DataType::I8;
    case 6: return DataType::I32;
    case 7: return DataType::I64;
    case 9: return DataType::BOOL;
    default:
      throw ModelFault("data type " + std::to_string(number) +
                       " (of onnx.TensorProto) is not supported; float32, uint8, int8, int32, int64 and bool are");
  }
}

bool is_utf8(const std::string& text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = at + text.size();
  while (at != end) {
    const unsigned char lead = *at++;
    if (lead < 0x80) continue;
    const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (lead < 0xC2 || lead > 0xF4 || end - at < more) return false;
    std::uint32_t point = lead & (0x3F >> more);
    for (int i = 0; i < more; ++i, ++at) {
      if ((*at & 0xC0) != 0x80) return false;
      point = point << 6 | (*at & 0x3F);
    }
    if ((more == 2 && point < 0x800) || (more == 3 && (point < 0x10000 || point > 0x10FFFF)) ||
        (point >= 0xD800 && point < 0xE000))
      return false;
  }
  return true;
}

std::string name_in(const Message& field) {
  if (field.wire() == Wire::Bytes && field.length() > kLongestName)
    field.fail("a name of " + std::to_string(field.length()) + " bytes");
  return field.text();
}

class Reader {
 public:
  explicit Reader(const Limits& limits) : limits_(limits) {}

  Graph read(Message model) {
    bool has_graph = false;
    std::map<std::string, std::int64_t> opsets;
    Message graph(nullptr, 0, "graph");
    while (model.next()) switch (model.number()) {
        case 7:
          // Protocol buffers would merge two graphs; no writer makes that.
          if (has_graph) model.fail("two graphs");
          graph = model.message("graph");
          has_graph = true;
          break;
        case 8: read_opset(model.message("opset_import"), opsets); break;
        case 14: read_metadata(model.message("metadata_props")); break;
        default: break;
      }
    if (!has_graph) throw ModelFault("not an ONNX file: it has no graph");
    const auto standard = opsets.find("");
    out_.opset = standard == opsets.end() ? 0 : standard->second;
    if (out_.opset < kLowestOpset || out_.opset > kHighestOpset)
      throw ModelFault("operator set " + std::to_string(out_.opset) + "; supported are " +
                       std::to_string(kLowestOpset) + " to " + std::to_string(kHighestOpset));
    const auto lowbit = opsets.find(kLowbitDomain);
    if (lowbit != opsets.end() && lowbit->second != kLowbitVersion)
      throw ModelFault("packed weights of version " + std::to_string(lowbit->second) + "; supported is " +
                       std::to_string(kLowbitVersion));
    read_graph(graph);
    return std::move(out_);
  }

 private:
  void read_opset(Message entry, std::map<std::string, std::int64_t>& opsets) {
    std::string domain;
    std::int64_t version = 0;
    while (entry.next()) {
      if (entry.number() == 1) domain = name_in(entry);
      if (entry.number() == 2) version = entry.integer();
    }
    if (opsets.size() >= 100) entry.fail("more than 100 operator sets");
    if (!opsets.emplace(domain == "ai.onnx" ? "" : domain, version).second) entry.fail("an operator set twice");
  }

  void read_metadata(Message entry) {
    std::string key, value;
    while (entry.next()) {
      if (entry.number() == 1) key = name_in(entry);
      if (entry.number() == 2) value = entry.text();
    }
    if (!is_utf8(key) || !is_utf8(value)) entry.fail("metadata '" + printable(key) + "' is not UTF-8");
    if (out_.metadata.size() >= 1000) entry.fail("more than 1000 metadata entries");
    out_.metadata[key] = std::move(value);
  }

  // Fields may come in any order, and nodes need the constants and inputs: three passes over the graph.
  void read_graph(Message graph) {
    for (Message pass = graph; pass.next();) {
      if (pass.number() == 5) read_initializer(pass.message("initializer"));
      if (pass.number() == 15) pass.fail("sparse constants are not supported");
    }
    for (Message pass = graph; pass.next();)
      if (pass.number() == 11) read_input(pass.message("input"));
    for (Message pass = graph; pass.next();)
      if (pass.number() == 1) read_node(pass.message("node"));
    for (Message pass = graph; pass.next();)
      if (pass.number() == 12) read_output(pass.message("output"));
    if (out_.nodes.empty()) throw ModelFault("the graph has no nodes");
    if (out_.inputs.empty()) throw ModelFault("the graph has no input");
    if (out_.outputs.empty()) throw ModelFault("the graph has no output");
  }

  int define(const std::string& name, const char* what) {
    if (name.empty() || !is_utf8(name)) throw ModelFault(std::string(what) + " without a name in UTF-8");
    if (out_.values.size() >= limits_.values)
      throw ModelFault("more than " + std::to_string(limits_.values) + " values");
    const int index = static_cast<int>(out_.values.size());
    if (!index_of_.emplace(name, index).second)
      throw ModelFault(std::string(what) + " '" + printable(name) + "' is defined twice");
    out_.values.emplace_back();
    out_.values.back().name = name;
    return index;
  }

  void read_initializer(Message message) {
    std::string name;
    Tensor tensor = read_tensor(message, name);
    Value& value = out_.values[static_cast<std::size_t>(define(name, "constant"))];
    value.type = tensor.type;
    value.dims = tensor.dims;
    value.constant = std::move(tensor);
  }

  void read_input(Message message) {
    std::string name;
    DataType type = DataType::F32;
    Dims dims;
    bool typed = false;
    while (message.next()) {
      if (message.number() == 1) name = name_in(message);
      if (message.number() == 2) {
        try {
          typed = read_type(message.message("type"), type, dims);
        } catch (const ModelFault& fault) {
          throw ModelFault("input '" + printable(name) + "': " + fault.what());
        }
      }
    }
    const auto known = index_of_.find(name);  // files of old versions list constants among the inputs
    if (known != index_of_.end() && out_.values[static_cast<std::size_t>(known->second)].constant) return;
    if (!typed) throw ModelFault("input '" + printable(name) + "' has no tensor type and shape");
    const int index = define(name, "input");
    out_.values[static_cast<std::size_t>(index)].type = type;
    out_.values[static_cast<std::size_t>(index)].dims = std::move(dims);
    out_.inputs.push_back(index);
  }

  // TypeProto; false unless it is a tensor's with a shape.
  bool read_type(Message message, DataType& type, Dims& dims) {
    bool shaped = false;
    dims.clear();
    while (message.next()) {
      if (message.number() != 1) continue;
      Message tensor = message.message("tensor_type");
      while (tensor.next()) {
        if (tensor.number() == 1) type = data_type_of(tensor.integer());
        if (tensor.number() != 2) continue;
        shaped = true;
        Message shape = tensor.message("shape");
        while (shape.next()) {
          if (shape.number() != 1) continue;
          std::int64_t size = 0;
          Message dim = shape.message("dim");
          while (dim.next())
            if (dim.number() == 1) size = dim.integer();
          if (size < 1) throw ModelFault("axis " + std::to_string(dims.size()) + " has no fixed size");
          if (dims.size() > limits_.axes) shape.fail("too many axes");
          dims.push_back(size);
        }
      }
    }
    checked_bytes(type, dims, limits_);
    return shaped;
  }

  void read_output(Message message) {
    std::string name;
    while (message.next())
      if (message.number() == 1) name = name_in(message);
    const auto known = index_of_.find(name);
    if (known == index_of_.end()) throw ModelFault("the graph's output '" + printable(name) + "' is never computed");
    if (out_.outputs.size() >= kMostOperands) message.fail("too many outputs");
    out_.outputs.push_back(known->second);
  }

  void read_node(Message message) {
    if (out_.nodes.size() >= limits_.nodes)
      throw ModelFault("more than " + std::to_string(limits_.nodes) + " nodes");
    Node node;
    std::vector<std::string> inputs, outputs;
    for (Message pass = message; pass.next();) switch (pass.number()) {
        case 1: inputs.push_back(name_in(pass)); break;
        case 2: outputs.push_back(name_in(pass)); break;
        case 3: node.name = name_in(pass); break;
        case 4: node.op = name_in(pass); break;
        case 7: node.domain = name_in(pass); break;
        default: break;
      }
    if (node.domain == "ai.onnx") node.domain.clear();
    if (node.name.empty()) node.name = outputs.empty() ? "(unnamed)" : outputs[0];
    const std::string called = "node '" + printable(node.name) + "' (" + printable(node.op) + ")";
    if (node.op.empty()) throw ModelFault(called + " has no operator");
    if (outputs.empty()) throw ModelFault(called + " has no outputs");
    if (inputs.size() > kMostOperands || outputs.size() > kMostOperands)
      throw ModelFault(called + " has " + std::to_string(std::max(inputs.size(), outputs.size())) + " operands");
    const int index = static_cast<int>(out_.nodes.size());
    for (const std::string& name : inputs) {
      if (name.empty()) {
        node.inputs.push_back(kAbsent);
        continue;
      }
      const auto known = index_of_.find(name);
      if (known == index_of_.end())
        throw ModelFault(called + " needs '" + printable(name) + "', which nothing before it computes");
      node.inputs.push_back(known->second);
      auto& consumers = out_.values[static_cast<std::size_t>(known->second)].consumers;
      if (consumers.empty() || consumers.back() != index) consumers.push_back(index);
    }
    try {
      for (Message pass = message; pass.next();)
        if (pass.number() == 5) read_attribute(pass.message("attribute"), node);
    } catch (const ModelFault& fault) {
      throw ModelFault(called + ": " + fault.what());
    }
    for (const std::string& name : outputs) {
      node.outputs.push_back(name.empty() ? kAbsent : define(name, "value"));
      if (!name.empty()) out_.values.back().producer = index;
    }
    out_.nodes.push_back(std::move(node));
  }

  void read_attribute(Message message, Node& node) {
    std::string name;
    Attribute out;
    std::int64_t type = 0;
    while (message.next()) switch (message.number()) {
        case 1: name = name_in(message); break;
        case 2: out.f = message.real(); break;
        case 3: out.i = message.integer(); break;
        case 4: out.s = message.text(); break;
        case 5: {
          std::string ignored;
          out.tensor = read_tensor(message.message("tensor"), ignored);
          break;
        }
        case 7: message.reals([&](float value) { out.floats.push_back(value); }); break;
        case 8: message.integers([&](std::int64_t value) { out.ints.push_back(value); }); break;
        case 20: type = message.integer(); break;
        case 6:
        case 11: throw ModelFault("attribute '" + printable(name) + "' is a subgraph, which is not supported");
        case 21: throw ModelFault("attribute '" + printable(name) + "' refers to one of a function");
        default: break;
      }
    switch (type) {
      case 1: out.kind = Attribute::Kind::Float; break;
      case 2: out.kind = Attribute::Kind::Int; break;
      case 3: out.kind = Attribute::Kind::String; break;
      case 4: out.kind = Attribute::Kind::Tensor; break;
      case 6: out.kind = Attribute::Kind::Floats; break;
      case 7: out.kind = Attribute::Kind::Ints; break;
      default:
        throw ModelFault("attribute '" + printable(name) + "' has type " + std::to_string(type) +
                         " (of onnx.AttributeProto), which is not supported");
    }
    if (out.kind == Attribute::Kind::Tensor && !out.tensor)
      throw ModelFault("attribute '" + printable(name) + "' has no tensor");
    if (node.attributes.size() >= kMostAttributes || ++attributes_ > kMostAttributesOfFile)
      throw ModelFault("too many attributes");
    if (!node.attributes.emplace(name, std::move(out)).second)
      throw ModelFault("attribute '" + printable(name) + "' is given twice");
  }

  Tensor read_tensor(Message message, std::string& name) {
    for (Message pass = message; pass.next();)
      if (pass.number() == 8) name = name_in(pass);
    try {
      return read_values(message);
    } catch (const ModelFault& fault) {
      throw ModelFault("constant '" + printable(name) + "': " + fault.what());
    }
  }

  Tensor read_values(Message message) {
    Dims dims;
    std::int64_t type_number = 0;
    const std::uint8_t* raw = nullptr;
    std::size_t raw_length = 0;
    bool external = false;
    for (Message pass = message; pass.next();) switch (pass.number()) {
        case 1:
          pass.integers([&](std::int64_t size) {
            if (dims.size() > limits_.axes) pass.fail("too many axes");
            dims.push_back(size);
          });
          break;
        case 2: type_number = pass.integer(); break;
        case 3: throw ModelFault("stored in segments, which is not supported");
        case 9:
          raw = pass.bytes();
          raw_length = pass.length();
          break;
        case 13: external = true; break;
        case 14: external = external || pass.integer() != 0; break;
        default: break;
      }
    if (external) throw ModelFault("its values lie in another file, which is not supported");
    const DataType type = data_type_of(type_number);
    const std::size_t bytes = checked_bytes(type, dims, limits_);
    if (raw != nullptr) {
      if (raw_length != bytes)
        throw ModelFault(std::to_string(raw_length) + " bytes where " + name_of(type) + " " + text_of(dims) +
                         " needs " + std::to_string(bytes));
      Tensor tensor = Tensor::make(type, std::move(dims));
      if (bytes) std::memcpy(tensor.bytes.get(), raw, bytes);  // little-endian, as every processor meant here is
      if (type == DataType::BOOL)
        for (std::size_t i = 0; i < bytes; ++i) tensor.data<std::uint8_t>()[i] = tensor.data<std::uint8_t>()[i] != 0;
      return tensor;
    }
    return read_numbers(message, type, std::move(dims));
  }

  // Values in float_data, int32_data or int64_data. They are counted first: memory only for what is there.
  Tensor read_numbers(Message message, DataType type, Dims dims) {
    const std::uint32_t field = type == DataType::F32 ? 4 : type == DataType::I64 ? 7 : 5;
    std::size_t count = 0;
    for (Message pass = message; pass.next();) {
      if (pass.number() != field) continue;
      if (field == 4) pass.reals([&](float) { ++count; });
      else pass.integers([&](std::int64_t) { ++count; });
    }
    if (count != element_count(dims))
      throw ModelFault(std::to_string(count) + " values where " + text_of(dims) + " are needed");
    Tensor tensor = Tensor::make(type, std::move(dims));
    std::size_t at = 0;
    for (Message pass = message; pass.next();) {
      if (pass.number() != field) continue;
      if (field == 4) pass.reals([&](float value) { tensor.data<float>()[at++] = value; });
      else pass.integers([&](std::int64_t value) { store(tensor, at++, value); });
    }
    return tensor;
  }

  static void store(Tensor& tensor, std::size_t at, std::int64_t value) {
    std::int64_t low = INT64_MIN, high = INT64_MAX;
    switch (tensor.type) {
      case DataType::U8: low = 0, high = 255; break;
      case DataType::I8: low = -128, high = 127; break;
      case DataType::I32: low = INT32_MIN, high = INT32_MAX; break;
      case DataType::BOOL: low = 0, high = 1; break;
      default: break;
    }
    if (value < low || value > high)
      throw ModelFault(std::to_string(value) + " is no " + std::string(name_of(tensor.type)));
    switch (tensor.type) {
      case DataType::I64: tensor.data<std::int64_t>()[at] = value; break;
      case DataType::I32: tensor.data<std::int32_t>()[at] = static_cast<std::int32_t>(value); break;
      case DataType::I8: tensor.data<std::int8_t>()[at] = static_cast<std::int8_t>(value); break;
      default: tensor.data<std::uint8_t>()[at] = static_cast<std::uint8_t>(value); break;
    }
  }

  const Limits& limits_;
  Graph out_;
  std::map<std::string, int> index_of_;
  std::size_t attributes_ = 0;
};

}  // namespace

Graph read_onnx(const std::uint8_t* data, std::size_t size, const Limits& limits) {
  return Reader(limits).read(Message(data, size, "model"));
}

}  // namespace wutdet::engine
