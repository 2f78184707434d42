// The program that runs plans: fused convolutions on images, with threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/engine/layout.h"
#include "core/engine/plan.h"
#include "core/engine/program.h"
#include "core/engine/reused_memory.h"
#include "core/engine/thread_pool.h"

namespace wutdet::engine {

struct Workspace;

// What a step did in a run.
struct StepTime {
  std::string name, kind, shape;  // shape of the first result, height x width x channels where it is an image
  std::uint64_t macs = 0;
  double seconds = 0;
};

class FusedProgram : public Program {
 public:
  // Takes a graph as read. Throws ModelFault where it cannot run or needs more than the limits.
  FusedProgram(Graph graph, int threads, const Limits& limits = {});
  ~FusedProgram() override;

  const char* name() const override { return "fused"; }
  std::vector<Tensor> run(const std::vector<Tensor>& inputs) const override;
  // The same, and how long each step took.
  std::vector<Tensor> run_timed(const std::vector<Tensor>& inputs, std::vector<StepTime>& times) const;

  // Writes rows [first, last) of the input picture, bytes of R, G, B, perhaps with a fourth; see FramePlan::to_bytes.
  using Picture = std::function<void(const View& out, int first, int last)>;
  // Whether the one input is a picture that is rounded to bytes, steps of 1/255, before all else.
  bool takes_pictures() const { return takes_pictures_; }
  // The outputs of a picture whose bytes, over 255, would be the input: the same bits. Only if takes_pictures().
  std::vector<Tensor> run_picture(const Picture& picture) const;

  const Plan& plan() const { return plan_; }
  std::size_t working_bytes() const { return layout_.bytes; }
  const char* isa() const;  // of the kernels

 private:
  std::vector<Tensor> run(const std::vector<Tensor>& inputs, std::vector<StepTime>* times) const;
  std::vector<Tensor> execute(std::unique_ptr<Workspace> space, const Picture* picture,
                              std::vector<StepTime>* times) const;
  bool begins_with_picture() const;
  void find_given();
  std::unique_ptr<Workspace> take_workspace() const;
  void return_workspace(std::unique_ptr<Workspace> workspace) const;

  const ConvKernels& kernels_;
  Plan plan_;
  Layout layout_;
  std::vector<int> borrowed_;  // items whose values lie in the caller's inputs
  std::vector<int> roots_, given_;  // items whose memory becomes the caller's, and all whose values lie in these
  bool takes_pictures_ = false;
  mutable ThreadPool pool_;
  // Memory of runs that are over, for the next ones: as many as ever ran at once.
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> idle_;
  std::shared_ptr<ReusedMemory> results_ = std::make_shared<ReusedMemory>();
};

const char* name_of(StepKind kind);

}  // namespace wutdet::engine
