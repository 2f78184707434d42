// What the executor runs: tensors and steps in their order. `lower` makes a plan of a graph; where it finds a pattern
// that it knows, tensors are images of bytes or floats and several nodes become one step, elsewhere the nodes stay what
// they are and work on dense tensors.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/engine/conv.h"
#include "core/engine/graph.h"
#include "core/engine/operators.h"

namespace wutdet::engine {

// What bytes stand for: (q - zero) * scale.
struct Quant {
  float scale = 1.0f;
  int zero = 0;
  bool operator==(const Quant& other) const { return scale == other.scale && zero == other.zero; }
};

// Pixels around an image that convolutions see as zeros.
struct Border {
  int top = 0, left = 0, bottom = 0, right = 0;
};

struct Item {
  bool image = false;  // rows of pixels of channels, with a border; else dense, in the graph's order
  DataType type = DataType::F32;
  Dims dims;  // as in the graph; an image is 1 x channels x height x width
  Quant quant;  // images of bytes
  std::optional<Tensor> constant;
  // Images: channels of another item from `channel` on. Dense: as many values of another item from there on.
  int whole = -1;
  int channel = 0;
  Border border;  // of images that are no slices

  int channels() const { return static_cast<int>(dims[1]); }
  int height() const { return static_cast<int>(dims[2]); }
  int width() const { return static_cast<int>(dims[3]); }
};

enum class StepKind : std::uint8_t {
  conv,       // in, maybe a residual or starts -> out
  table,      // bytes -> bytes
  add,        // two images of the same kind -> one; of bytes: as ConvSpec::Mix with `own` for the first
  max_pool,   // bytes or floats
  upsample,   // nearest, by whole numbers
  widen,      // bytes -> floats
  quantise,   // floats -> bytes
  to_image,   // dense -> image; floats are quantised where that is of bytes
  to_dense,   // image -> dense; bytes become floats where that is of floats
  attention,  // see attention.h
  pack_heads,      // bytes -> what byte_attention takes, dense
  byte_attention,  // dense -> floats
  sigmoid,    // dense floats -> the same
  expectation,  // dense [1, sides, bins, values] -> [1, 1, sides, values]: mean of the softmax over the bins
  node,       // an operator of the graph, on dense tensors
};

struct Window {  // of max_pool; of upsample: `height` and `width` are factors
  int height = 1, width = 1, stride_h = 1, stride_w = 1, pad_top = 0, pad_left = 0;
};

struct Step {
  StepKind kind;
  std::string name;  // of the node in the file that it begins with
  std::vector<int> inputs, outputs;  // items; kAbsent for operands of nodes that are left out
  std::shared_ptr<const ConvLayer> conv;
  std::vector<std::uint8_t> table;
  ConvSpec::Mix mix;
  Window window;
  // to_dense: values between the beginnings of channels in the result (0: as many as pixels), and before the first.
  std::size_t plane = 0, offset = 0;
  int areas = 1, heads = 0, key_channels = 0, value_channels = 0;  // attention
  float factor = 1.0f, scale = 1.0f;
  std::vector<float> numbers;  // expectation: of the bins
  std::shared_ptr<const Prepared> node;
  std::string op;           // of nodes, for tables of times
  std::uint64_t macs = 0;  // multiplications, for tables of times
};

struct Plan {
  std::vector<Item> items;
  std::vector<Step> steps;
  std::vector<int> inputs, outputs;  // items, dense
  std::vector<std::string> input_names, output_names;
};

// The item that holds an item's values, and where its channels begin there.
struct Place {
  int item, channel;
};
Place place_of(const std::vector<Item>& items, int item);

// Takes the graph as read_onnx gives it. Throws ModelFault where the generic interpreter would.
Plan lower(Graph graph, const Limits& limits, const ConvKernels& kernels);

}  // namespace wutdet::engine
