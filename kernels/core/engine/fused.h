// The program that runs plans: fused convolutions on images, with threads.
#pragma once

#include <cstdint>
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

  const Plan& plan() const { return plan_; }
  std::size_t working_bytes() const { return layout_.bytes; }
  const char* isa() const;  // of the kernels

 private:
  std::vector<Tensor> run(const std::vector<Tensor>& inputs, std::vector<StepTime>* times) const;
  void find_given();
  std::unique_ptr<Workspace> take_workspace() const;
  void return_workspace(std::unique_ptr<Workspace> workspace) const;

  const ConvKernels& kernels_;
  Plan plan_;
  Layout layout_;
  std::vector<int> borrowed_;  // items whose values lie in the caller's inputs
  std::vector<int> roots_, given_;  // items whose memory becomes the caller's, and all whose values lie in these
  mutable ThreadPool pool_;
  // Memory of runs that are over, for the next ones: as many as ever ran at once.
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> idle_;
  std::shared_ptr<ReusedMemory> results_ = std::make_shared<ReusedMemory>();
};

const char* name_of(StepKind kind);

}  // namespace wutdet::engine
