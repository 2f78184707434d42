#include "core/engine/fused.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include "core/engine/attention.h"
#include "core/engine/conv_kernels.h"
#include "core/engine/dispatch.h"
#include "core/engine/float_functions.h"
#include "core/engine/image_ops.h"
#include "core/engine/subnormals.h"

namespace wutdet::engine {
namespace {

// Below this much work (multiplications, or bytes), a part of a step is not worth sharing out.
constexpr std::uint64_t kMacsOfPart = 200'000, kBytesOfPart = 16'384;
// More parts than threads, because on a busy machine threads are not equally fast.
constexpr int kPartsPerThread = 2;

}  // namespace

const char* name_of(StepKind kind) {
  switch (kind) {
    case StepKind::conv: return "conv";
    case StepKind::table: return "table";
    case StepKind::add: return "add";
    case StepKind::max_pool: return "max pool";
    case StepKind::upsample: return "upsample";
    case StepKind::widen: return "widen";
    case StepKind::quantise: return "quantise";
    case StepKind::to_image: return "to image";
    case StepKind::to_dense: return "to dense";
    case StepKind::attention: return "attention";
    case StepKind::pack_heads: return "pack heads";
    case StepKind::byte_attention: return "attention";
    case StepKind::sigmoid: return "sigmoid";
    case StepKind::expectation: return "expectation";
    case StepKind::node: return "node";
  }
  return "?";
}

// A step with its addresses.
struct Bound {
  View in, second, out;  // of images
  ConvCall call;
  std::vector<AttentionHead> heads;
  std::vector<ByteAttentionHead> byte_heads;
  const FloatFunctions* floats = nullptr;
  int rows = 1, parts = 1;
  std::size_t scratch = 0;  // of all parts, offset in the workspace's scratch
  // Borders that this step writes: those of images that nothing has written before.
  struct Edge {
    View image;
    Border border;
    std::size_t size;
    int value;
  };
  std::vector<Edge> edges;
  Inputs dense_inputs;
  Outputs dense_outputs;
};

struct Workspace {
  Packed memory, scratch;
  std::vector<Tensor> dense;  // by item; of images empty
  std::vector<Bound> steps;
};

namespace {

class Binder {
 public:
  Binder(const Plan& plan, const Layout& layout, const ConvKernels& kernels, int threads, Workspace& workspace)
      : plan_(plan), layout_(layout), kernels_(kernels), threads_(threads), to_(workspace) {}

  void bind() {
    to_.memory = Packed(std::max<std::size_t>(layout_.bytes, 1));
    std::memset(to_.memory.as<std::uint8_t>(), 0, to_.memory.bytes());
    to_.dense.resize(plan_.items.size());
    for (std::size_t i = 0; i < plan_.items.size(); ++i) {
      const Item& item = plan_.items[i];
      if (item.image) continue;
      Tensor& tensor = to_.dense[i];
      tensor.type = item.type;
      tensor.dims = item.dims;
      const Place place = place_of(plan_.items, static_cast<int>(i));
      const int root = place.item;
      if (plan_.items[root].constant) {
        tensor.bytes = plan_.items[root].constant->bytes;
      } else if (layout_.buffers[root].bytes > 0) {
        std::byte* at = to_.memory.as<std::byte>() + layout_.buffers[root].offset +
                        static_cast<std::size_t>(place.channel) * size_of(item.type);
        tensor.bytes = std::shared_ptr<std::byte>(at, [](std::byte*) {});
      }
    }
    to_.steps.resize(plan_.steps.size());
    std::size_t scratch = 0;
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
      bind_step(static_cast<int>(i));
      scratch = std::max(scratch, to_.steps[i].scratch * static_cast<std::size_t>(to_.steps[i].parts));
    }
    to_.scratch = Packed(std::max<std::size_t>(scratch, 1));
  }

 private:
  bool is_image(int item) const { return item != kAbsent && plan_.items[item].image; }

  View view(int index) const {
    const Place place = place_of(plan_.items, index);
    const Buffer& buffer = layout_.buffers[place.item];
    const Item& item = plan_.items[index];
    const auto size = static_cast<std::ptrdiff_t>(size_of(item.type));
    View view;
    view.data = to_.memory.as<std::uint8_t>() + buffer.offset + buffer.origin + place.channel * size;
    view.row_stride = buffer.row_stride;
    view.pixel_stride = buffer.pixel_stride;
    view.height = item.height();
    view.width = item.width();
    view.channels = item.channels();
    return view;
  }

  void bind_step(int index) {
    const Step& step = plan_.steps[index];
    Bound& bound = to_.steps[index];
    if (is_image(step.inputs[0])) bound.in = view(step.inputs[0]);
    if (step.inputs.size() > 1 && is_image(step.inputs[1])) bound.second = view(step.inputs[1]);
    if (is_image(step.outputs[0])) bound.out = view(step.outputs[0]);
    for (const int item : step.outputs) {
      if (!is_image(item)) continue;
      const int root = place_of(plan_.items, item).item;
      const Item& whole = plan_.items[root];
      const Border& b = whole.border;
      if (layout_.buffers[root].first_step != index || b.top + b.left + b.bottom + b.right == 0) continue;
      bound.edges.push_back({view(root), b, size_of(whole.type), whole.type == DataType::U8 ? whole.quant.zero : 0});
    }
    if (step.kind == StepKind::node) {
      for (const int item : step.inputs) bound.dense_inputs.push_back(item == kAbsent ? nullptr : &to_.dense[item]);
      for (const int item : step.outputs) bound.dense_outputs.push_back(to_.dense[item]);
      return;
    }
    bound.floats = &float_functions(kernels_);
    if (step.kind == StepKind::expectation) {
      const Dims& dims = plan_.items[step.outputs[0]].dims;
      constexpr std::int64_t values_of_row = 256;
      bound.rows = static_cast<int>(dims[2] * ((dims[3] + values_of_row - 1) / values_of_row));
      bound.parts = threads_ == 1 ? 1 : std::min(threads_ * kPartsPerThread, bound.rows);
      return;
    }
    if (step.kind == StepKind::sigmoid) {
      constexpr std::size_t values_of_row = 4096;
      const std::size_t rows = (element_count(plan_.items[step.outputs[0]].dims) + values_of_row - 1) / values_of_row;
      bound.rows = static_cast<int>(rows);
      bound.parts = threads_ == 1 ? 1 : std::min(threads_ * kPartsPerThread, bound.rows);
      return;
    }
    const bool out_image = is_image(step.outputs[0]);
    bound.rows = out_image ? bound.out.height : bound.in.height;
    if (step.kind == StepKind::pack_heads)
      bound.rows = step.areas * ((bound.in.height * bound.in.width / step.areas + 1) / 2);
    if (step.kind == StepKind::conv)
      bound.call = engine::bind(*step.conv, bound.in, bound.out, step.inputs.size() > 1 ? &bound.second : nullptr);
    bound.scratch = bound.call.scratch_bytes;
    if (step.kind == StepKind::attention) bind_attention(step, bound);
    if (step.kind == StepKind::byte_attention) bind_byte_attention(step, bound);
    const std::uint64_t work = step.macs > 0
                                   ? step.macs / kMacsOfPart
                                   : element_count(plan_.items[step.outputs[0]].dims) *
                                         size_of(plan_.items[step.outputs[0]].type) / kBytesOfPart;
    const std::uint64_t most = threads_ == 1 ? 1 : std::min<std::uint64_t>(threads_ * kPartsPerThread, bound.rows);
    bound.parts = static_cast<int>(std::clamp<std::uint64_t>(work, 1, most));
  }

  void bind_attention(const Step& step, Bound& bound) const {
    const int all_pixels = bound.out.height * bound.out.width, pixels = all_pixels / step.areas,
              values = bound.out.channels / step.heads, channels = 2 * step.key_channels + values;
    for (int i = 0; i < step.areas * step.heads; ++i) {
      const int h = i % step.heads;
      const std::ptrdiff_t first = std::ptrdiff_t{i / step.heads} * pixels;
      AttentionHead head{};
      head.q_step = head.v_step = bound.in.pixel_stride / 4;
      head.q = static_cast<const float*>(bound.in.data) + first * head.q_step + h * channels;
      head.v = head.q + 2 * step.key_channels;
      head.k = to_.dense[step.inputs[1]].data<float>() +
               std::ptrdiff_t{h * channels + step.key_channels} * all_pixels + first;
      head.k_step = all_pixels;
      head.out = static_cast<float*>(bound.out.data) + h * values;
      head.out_step = bound.out.pixel_stride / 4;
      head.pixels = pixels;
      head.key_channels = step.key_channels;
      head.value_channels = values;
      head.factor = step.factor;
      bound.heads.push_back(head);
    }
    const std::size_t floats =
        attention_scratch(static_cast<std::size_t>(pixels), static_cast<std::size_t>(step.key_channels));
    bound.scratch = (floats * sizeof(float) + 63) / 64 * 64;
  }

  void bind_byte_attention(const Step& step, Bound& bound) const {
    const int pixels = bound.out.height * bound.out.width / step.areas;
    const PackedHead layout(pixels, step.key_channels, step.value_channels);
    const auto* from = reinterpret_cast<const std::int16_t*>(to_.dense[step.inputs[0]].data<std::uint8_t>());
    for (int i = 0; i < step.areas * step.heads; ++i, from += layout.values) {
      ByteAttentionHead head{};
      head.q = from + layout.q;
      head.k = from + layout.k;
      head.k_step = layout.k_step;
      head.v = from + layout.v;
      head.out = static_cast<float*>(bound.out.data) + i % step.heads * step.value_channels;
      head.out_step = bound.out.pixel_stride / 4;
      head.pixels = pixels;
      head.key_channels = step.key_channels;
      head.value_channels = step.value_channels;
      head.factor = step.factor;
      head.scale = step.scale;
      bound.byte_heads.push_back(head);
    }
    const std::size_t values = kAttentionRows * static_cast<std::size_t>(layout.k_step);
    bound.scratch = (values * (sizeof(float) + sizeof(std::int16_t)) + 63) / 64 * 64;
  }

  const Plan& plan_;
  const Layout& layout_;
  const ConvKernels& kernels_;
  const int threads_;
  Workspace& to_;
};

// Rows [first, last) of the output, as far as they are of a head's area, the `area`-th of its size. Pixels in one go
// where they follow each other, else row by row. `head.out` is that of the image's first pixel.
template <typename Head>
void for_pixels(const View& out, Head& head, std::size_t area, int first, int last,
                void (*attention)(const Head&, int, int)) {
  float* const out_data = head.out;
  const std::ptrdiff_t begin = static_cast<std::ptrdiff_t>(area) * head.pixels, row = out.row_stride / 4;
  const auto do_rows = [&](std::ptrdiff_t y, std::ptrdiff_t end) {
    const std::ptrdiff_t from = std::max<std::ptrdiff_t>(y * out.width - begin, 0);
    const std::ptrdiff_t to = std::min<std::ptrdiff_t>(end * out.width - begin, head.pixels);
    if (from >= to) return;
    head.out = out_data + y * row + (begin - y * out.width) * head.out_step;
    attention(head, static_cast<int>(from), static_cast<int>(to));
  };
  if (out.row_stride == out.width * out.pixel_stride) {
    do_rows(first, last);
    return;
  }
  for (int y = first; y < last; ++y) do_rows(y, y + 1);
}

struct Rows {
  int first, last;
};

Rows rows_of(const Bound& bound, int part) {
  return {static_cast<int>(std::int64_t{bound.rows} * part / bound.parts),
          static_cast<int>(std::int64_t{bound.rows} * (part + 1) / bound.parts)};
}

void write_picture(const Bound& bound, int part, const FusedProgram::Picture& picture) {
  const auto [first, last] = rows_of(bound, part);
  for (const Bound::Edge& edge : bound.edges) fill_border(edge.image, edge.border, edge.size, edge.value, first, last);
  picture(bound.out, first, last);
}

void run_part(const Plan& plan, const Step& step, Workspace& space, Bound& bound, int part) {
  const NoSubnormals fast;
  const auto [first, last] = rows_of(bound, part);
  const Item& out = plan.items[step.outputs[0]];
  for (const Bound::Edge& edge : bound.edges) fill_border(edge.image, edge.border, edge.size, edge.value, first, last);
  switch (step.kind) {
    case StepKind::conv:
      run(bound.call, first, last, 0, block_count(*step.conv),
          space.scratch.as<std::uint8_t>() + bound.scratch * static_cast<std::size_t>(part));
      break;
    case StepKind::table:
      map_rows(bound.in, bound.out, step.table.empty() ? nullptr : step.table.data(), size_of(out.type), first, last);
      break;
    case StepKind::add:
      if (out.type == DataType::U8) add_bytes(bound.in, bound.second, bound.out, step.mix, *bound.floats, first, last);
      else add_floats(bound.in, bound.second, bound.out, first, last);
      break;
    case StepKind::max_pool:
      if (out.type == DataType::U8) max_pool_bytes(bound.in, bound.out, step.window, first, last);
      else max_pool_floats(bound.in, bound.out, step.window, first, last);
      break;
    case StepKind::upsample: upsample(bound.in, bound.out, step.window, size_of(out.type), first, last); break;
    case StepKind::widen: {
      const Quant quant = plan.items[step.inputs[0]].quant;
      widen(bound.in, bound.out, quant.scale, quant.zero, first, last);
      break;
    }
    case StepKind::quantise:
      quantise(bound.in, bound.out, out.quant.scale, out.quant.zero, *bound.floats, first, last);
      break;
    case StepKind::to_image: {
      const Tensor& in = space.dense[step.inputs[0]];
      const float* dense = in.data<float>();
      const Quant to = out.quant;
      if (in.type == DataType::U8) bytes_from_dense(in.data<std::uint8_t>(), bound.out, first, last);
      else if (out.type == DataType::U8) bytes_from_dense(dense, bound.out, to.scale, to.zero, *bound.floats, first, last);
      else floats_from_dense(dense, bound.out, first, last);
      break;
    }
    case StepKind::to_dense: {
      const Item& in = plan.items[step.inputs[0]];
      Tensor& dense = space.dense[step.outputs[0]];
      const auto pixels = static_cast<std::size_t>(bound.in.height) * static_cast<std::size_t>(bound.in.width);
      const std::size_t plane = step.plane ? step.plane : pixels;
      if (out.type == DataType::U8) {
        dense_bytes(bound.in, dense.data<std::uint8_t>() + step.offset, plane, first, last);
        break;
      }
      float* const to = dense.data<float>() + step.offset;
      if (in.type == DataType::F32) dense_from_floats(bound.in, to, plane, *bound.floats, first, last);
      else dense_from_bytes(bound.in, to, plane, in.quant.scale, in.quant.zero, *bound.floats, first, last);
      break;
    }
    case StepKind::attention:
      for (std::size_t i = 0; i < bound.heads.size(); ++i) {
        AttentionHead head = bound.heads[i];
        head.scratch = reinterpret_cast<float*>(space.scratch.as<std::uint8_t>() +
                                                bound.scratch * static_cast<std::size_t>(part));
        for_pixels(bound.out, head, i / step.heads, first, last, bound.floats->attention);
      }
      break;
    case StepKind::pack_heads:
      pack_heads(bound.in, step.areas, step.heads, step.key_channels, step.value_channels,
                 plan.items[step.inputs[0]].quant.zero,
                 reinterpret_cast<std::int16_t*>(space.dense[step.outputs[0]].data<std::uint8_t>()), first, last);
      break;
    case StepKind::byte_attention:
      for (std::size_t i = 0; i < bound.byte_heads.size(); ++i) {
        ByteAttentionHead head = bound.byte_heads[i];
        std::uint8_t* const scratch = space.scratch.as<std::uint8_t>() + bound.scratch * static_cast<std::size_t>(part);
        head.scratch = reinterpret_cast<float*>(scratch);
        head.weights = reinterpret_cast<std::int16_t*>(scratch + sizeof(float) * kAttentionRows *
                                                                     static_cast<std::size_t>(head.k_step));
        for_pixels(bound.out, head, i / step.heads, first, last, bound.floats->byte_attention);
      }
      break;
    case StepKind::sigmoid: {
      const auto values = static_cast<std::ptrdiff_t>(element_count(out.dims));
      const std::ptrdiff_t from = values * first / bound.rows, to = values * last / bound.rows;
      bound.floats->sigmoid(space.dense[step.inputs[0]].data<float>() + from,
                            space.dense[step.outputs[0]].data<float>() + from, to - from);
      break;
    }
    case StepKind::expectation: {
      const auto values = static_cast<std::ptrdiff_t>(out.dims[3]),
                 count = static_cast<std::ptrdiff_t>(step.numbers.size()),
                 rows_of_side = bound.rows / static_cast<std::ptrdiff_t>(out.dims[2]);
      for (int row = first; row < last; ++row) {
        const std::ptrdiff_t side = row / rows_of_side, at = row % rows_of_side;
        const Bins bins{space.dense[step.inputs[0]].data<float>() + side * count * values, values, step.numbers.data(),
                        static_cast<int>(count), space.dense[step.outputs[0]].data<float>() + side * values};
        bound.floats->expectation(bins, values * at / rows_of_side, values * (at + 1) / rows_of_side);
      }
      break;
    }
    case StepKind::node:
      for (std::size_t i = 0; i < step.outputs.size(); ++i)
        bound.dense_outputs[i].bytes = space.dense[step.outputs[i]].bytes;
      step.node->run(bound.dense_inputs, bound.dense_outputs);
      for (Tensor& output : bound.dense_outputs) output.bytes.reset();  // may be the caller's
      break;
  }
}

}  // namespace

FusedProgram::FusedProgram(Graph graph, int threads, const Limits& limits)
    : kernels_(chosen_kernels()), plan_(lower(std::move(graph), limits, kernels_)), pool_(threads) {
  find_given();
  layout_ = lay_out(plan_, roots_, limits);
  for (std::size_t item = 0; item < plan_.items.size(); ++item) {
    const int root = place_of(plan_.items, static_cast<int>(item)).item;
    if (std::find(plan_.inputs.begin(), plan_.inputs.end(), root) != plan_.inputs.end())
      borrowed_.push_back(static_cast<int>(item));
  }
  return_workspace(take_workspace());  // what cannot be bound fails here
  takes_pictures_ = begins_with_picture();
}

FusedProgram::~FusedProgram() = default;

// Results that steps write through `Workspace::dense` can be written into memory that is new in every run.
void FusedProgram::find_given() {
  std::vector<char> fixed(plan_.items.size(), 0);
  for (const int item : plan_.inputs) fixed[item] = 1;
  for (const Step& step : plan_.steps) {
    if (step.kind != StepKind::attention && step.kind != StepKind::byte_attention) continue;
    for (const int item : step.inputs) fixed[place_of(plan_.items, item).item] = 1;
  }
  for (const int output : plan_.outputs) {
    const int root = place_of(plan_.items, output).item;
    const Item& item = plan_.items[root];
    if (fixed[root] || item.image || item.constant) continue;
    fixed[root] = 1;
    roots_.push_back(root);
  }
  for (std::size_t item = 0; item < plan_.items.size(); ++item) {
    const int root = place_of(plan_.items, static_cast<int>(item)).item;
    if (std::find(roots_.begin(), roots_.end(), root) != roots_.end()) given_.push_back(static_cast<int>(item));
  }
}

const char* FusedProgram::isa() const { return kernels_.name; }

bool FusedProgram::begins_with_picture() const {
  if (plan_.inputs.size() != 1 || plan_.steps.empty() || plan_.steps[0].kind != StepKind::to_image) return false;
  const Step& first = plan_.steps[0];
  const Item& out = plan_.items[first.outputs[0]];
  if (first.inputs[0] != plan_.inputs[0] || out.type != DataType::U8 || out.channels() != 3) return false;
  if (out.quant.scale != 1.0f / 255.0f || out.quant.zero != 0) return false;
  const std::ptrdiff_t pixel = layout_.buffers[place_of(plan_.items, first.outputs[0]).item].pixel_stride;
  const auto borrowed = [&](int item) {
    return std::find(borrowed_.begin(), borrowed_.end(), item) != borrowed_.end();
  };
  for (std::size_t i = 1; i < plan_.steps.size(); ++i)
    if (std::any_of(plan_.steps[i].inputs.begin(), plan_.steps[i].inputs.end(), borrowed)) return false;
  if (std::any_of(plan_.outputs.begin(), plan_.outputs.end(), borrowed)) return false;
  return pixel == 3 || pixel == 4;
}

std::unique_ptr<Workspace> FusedProgram::take_workspace() const {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Workspace> found = std::move(idle_.back());
      idle_.pop_back();
      return found;
    }
  }
  auto made = std::make_unique<Workspace>();
  Binder(plan_, layout_, kernels_, pool_.threads(), *made).bind();
  return made;
}

void FusedProgram::return_workspace(std::unique_ptr<Workspace> workspace) const {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(workspace));
}

std::vector<Tensor> FusedProgram::run(const std::vector<Tensor>& inputs) const { return run(inputs, nullptr); }

std::vector<Tensor> FusedProgram::run_timed(const std::vector<Tensor>& inputs, std::vector<StepTime>& times) const {
  return run(inputs, &times);
}

std::vector<Tensor> FusedProgram::run(const std::vector<Tensor>& inputs, std::vector<StepTime>* times) const {
  if (inputs.size() != plan_.inputs.size())
    throw std::invalid_argument("expected " + std::to_string(plan_.inputs.size()) + " inputs, received " +
                                std::to_string(inputs.size()));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Item& item = plan_.items[plan_.inputs[i]];
    if (inputs[i].type != item.type || inputs[i].dims != item.dims)
      throw std::invalid_argument("input '" + plan_.input_names[i] + "' must be " + name_of(item.type) + " " +
                                  text_of(item.dims) + ", received " + name_of(inputs[i].type) + " " +
                                  text_of(inputs[i].dims));
  }
  std::unique_ptr<Workspace> space = take_workspace();
  for (const int item : borrowed_) {
    const int root = place_of(plan_.items, item).item;
    const auto at = std::find(plan_.inputs.begin(), plan_.inputs.end(), root) - plan_.inputs.begin();
    space->dense[item].bytes = inputs[static_cast<std::size_t>(at)].bytes;
  }
  return execute(std::move(space), nullptr, times);
}

std::vector<Tensor> FusedProgram::run_picture(const Picture& picture) const {
  if (!takes_pictures_) throw std::invalid_argument("the model takes no pictures of bytes");
  return execute(take_workspace(), &picture, nullptr);
}

std::vector<Tensor> FusedProgram::execute(std::unique_ptr<Workspace> space, const Picture* picture,
                                          std::vector<StepTime>* times) const {
  using Clock = std::chrono::steady_clock;
  for (const int item : roots_) {
    const Item& root = plan_.items[item];
    space->dense[item].bytes = results_->take(element_count(root.dims) * size_of(root.type));
  }
  for (const int item : given_) {
    const Place place = place_of(plan_.items, item);
    const std::shared_ptr<std::byte> whole = space->dense[place.item].bytes;
    const std::size_t size = size_of(plan_.items[item].type);
    space->dense[item].bytes = {whole, whole.get() + static_cast<std::size_t>(place.channel) * size};
  }
  if (times) times->clear();
  for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
    const Step& step = plan_.steps[i];
    Bound& bound = space->steps[i];
    const auto begin = times ? Clock::now() : Clock::time_point{};
    pool_.parallel_for(bound.parts, [&](int part) {
      if (i > 0 || !picture) run_part(plan_, step, *space, bound, part);
      else write_picture(bound, part, *picture);
    });
    if (!times) continue;
    const Item& out = plan_.items[step.outputs[0]];
    StepTime time;
    time.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    time.name = step.name;
    time.kind = step.kind == StepKind::node ? step.op : name_of(step.kind);
    time.shape = text_of(out.image ? Dims{out.dims[2], out.dims[3], out.dims[1]} : out.dims);
    time.macs = step.macs;
    times->push_back(std::move(time));
  }
  std::vector<Tensor> outputs;
  for (const int item : plan_.outputs) {
    const Tensor& from = space->dense[item];
    outputs.push_back(from);
    if (std::find(given_.begin(), given_.end(), item) != given_.end()) continue;
    outputs.back().bytes = results_->take(from.size_bytes());
    std::memcpy(outputs.back().bytes.get(), from.bytes.get(), from.size_bytes());
  }
  for (const int item : borrowed_) space->dense[item].bytes.reset();
  for (const int item : given_) space->dense[item].bytes.reset();
  return_workspace(std::move(space));
  return outputs;
}

}  // namespace wutdet::engine
