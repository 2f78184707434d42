// The state of a lowering, shared by the files lower*.cpp.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/engine/plan.h"

namespace wutdet::engine {

// Forms in which a value of the graph is there already, as items.
struct Forms {
  int bytes = -1;   // image of bytes: of a float value, its exact numbers; of a byte value, its codes
  int floats = -1;  // image of floats
  int dense = -1;
};

// Weights of a convolution as the file has them.
struct ConvWeights {
  std::vector<std::int8_t> codes;  // [out][tap row][tap column][in]; empty where they are floats
  std::vector<float> floats;       // the same order
  std::vector<float> scale;        // [out], of codes
  int group = 0;
  std::vector<float> group_scale;  // [out][groups]
};

class Lowering {
 public:
  Lowering(Graph graph, const Limits& limits, const ConvKernels& kernels)
      : graph_(std::move(graph)), limits_(limits), kernels_(kernels) {}
  Plan run();

 private:
  // lower.cpp
  void infer();
  int add_item(Item item);
  int new_image(DataType type, const Dims& dims, Quant quant = {});
  int slice_of(int item, int channel, int channels);
  Step& add_step(StepKind kind, const Node& node, std::vector<int> inputs, std::vector<int> outputs);
  int floats_of(int value, const Node& node);
  int dense_of(int value, const Node& node);
  bool keep_node(int node);
  bool view_dense(const Node& node);
  bool is_image_shape(int value) const;
  bool has_image(int value) const;
  bool fixed(int value) const { return value != kAbsent && graph_.values[value].constant.has_value(); }
  const Dims& dims(int value) const { return graph_.values[value].dims; }
  // The only node that takes a value which is no output of the graph, or -1.
  int only_consumer(int value) const;
  bool is_output(int value) const;
  // Scale and zero point of a QuantizeLinear or DequantizeLinear node on bytes, if they are fixed and one pair.
  std::optional<Quant> quant_of(const Node& node) const;
  // Whether a node, or none (-1), is a QuantizeLinear with such a pair.
  bool is_quantize(int node) const {
    return node >= 0 && graph_.nodes[node].domain.empty() && graph_.nodes[node].op == "QuantizeLinear" &&
           quant_of(graph_.nodes[node]);
  }
  std::optional<std::vector<std::int64_t>> integers_of(int value) const;
  std::int64_t integer(const Node& node, const char* name, std::int64_t otherwise) const;

  // lower_image.cpp
  bool lower_quantize(int node);
  bool lower_dequantize(int node);
  bool lower_concat(int node);
  bool lower_split(int node);
  bool lower_slice(int node);
  bool lower_max_pool(int node);
  bool lower_resize(int node);
  bool lower_add(int node);
  void concat_items(const Node& node, int cat, const std::vector<int>& parts);
  bool slice_value(int from, int to, std::int64_t channel);
  std::optional<Window> window_of(const Node& node) const;

  // lower_dense.cpp
  std::optional<int> movable_dense(int value) const;
  Step* sole_to_dense(int value, int item);
  bool lower_dense_concat(int node);

  // lower_attention.cpp
  bool lower_attention(int node);
  bool lower_expectation(int node);
  bool lower_sigmoid(int node);
  std::optional<float> factor_of(int node, int value) const;
  // Whether a node that is not done yet is such a transposition, or such an operator.
  bool permutes(int node, const std::vector<std::int64_t>& perm) const;
  bool is_open(int node, const char* op) const;
  struct Heads {
    std::int64_t areas = 1, pixels = 0, heads = 0, key_channels = 0, value_channels = 0;  // pixels: of an area
    int q = kAbsent, k = kAbsent, v = kAbsent;
    bool pixels_first = false;
    std::vector<int> nodes;  // up to the one that gives q, k and v
  };
  std::optional<Heads> heads_of(int node) const;
  std::optional<int> image_of_heads(int node, bool pixels_first, const Dims& image, std::vector<int>& nodes) const;

  // lower_table.cpp
  struct ByteFunction {
    std::array<std::uint8_t, 256> table;
    int result;  // value that QuantizeLinear gives
    Quant quant;
    std::vector<int> nodes;
  };
  std::optional<ByteFunction> byte_function(int codes) const;

  // lower_conv.cpp
  bool lower_conv(int node);
  int widened_pixels(int item, int channels);
  std::shared_ptr<const ConvLayer> pack_integers(ConvSpec spec, const ConvWeights& weights, Quant in, Quant sums,
                                                 int bias_value, const std::vector<float>& bias) const;
  std::shared_ptr<const ConvLayer> pack_planes(ConvSpec spec, const std::vector<float>& weights, Quant in, Quant sums,
                                               int bias_value, const std::vector<float>& bias) const;
  std::shared_ptr<const ConvLayer> pack_floats(ConvSpec spec, const std::vector<float>& weights, Quant sums,
                                               const std::vector<float>& bias) const;
  // Null where the kernels cannot compute it: the interpreter's operator takes its place.
  static std::shared_ptr<const ConvLayer> pack_or_null(const ConvSpec& spec, const ConvKernels& kernels);

  // lower_upsampled.cpp
  struct FromStarts {
    std::shared_ptr<const ConvLayer> layer;  // of the parts that are not upsampled
    int starts;                              // item
  };
  int sole_source(int value, int node) const;
  int upsampling_for(int conv) const;
  // `spec`, a 1x1 convolution that can be packed with these weights, without its upsampled part, if it has one.
  std::optional<FromStarts> start_before_upsampling(int conv, ConvSpec spec, const ConvWeights& weights, Quant sums,
                                                    int bias_value, const std::vector<float>& bias);
  // lower_weights.cpp
  std::optional<ConvWeights> integer_weights(int value, bool depthwise) const;
  std::vector<float> float_weights(int value) const;

  Graph graph_;
  const Limits& limits_;
  const ConvKernels& kernels_;
  std::vector<std::shared_ptr<const Prepared>> prepared_;
  std::vector<Forms> forms_;
  std::vector<char> done_;
  Plan plan_;
};

}  // namespace wutdet::engine
