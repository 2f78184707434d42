// A few threads of one engine that share the parts of a loop.
//
// A loop costs no allocation and, while the workers are awake, no system call. Workers wait for work for some
// microseconds by looking at one word, then sleep. Parts are taken one by one: on a busy machine, whoever runs takes
// the next, and nobody waits for a thread that has not started. What a part computes must not depend on who runs it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace wutdet::engine {

class ThreadPool {
 public:
  // The calling thread is one of `threads`. Throws std::invalid_argument for less than one or more than kMostThreads.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  static constexpr int kMostThreads = 256;
  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(part) for every part in [0, parts) and returns when all are done. Another thread's loop that is running
  // in this pool is not waited for: the parts are then done by the caller alone. If parts throw, the others are still
  // run, and one of the exceptions is thrown again here.
  template <typename Work>
  void parallel_for(int parts, const Work& work) {
    static_assert(std::is_invocable_v<const Work&, int>);
    run(parts, [](const void* what, int part) { (*static_cast<const Work*>(what))(part); }, &work);
  }

 private:
  using Call = void (*)(const void*, int);
  struct Job {  // atomics, because workers may read them while the next job is written; see `take`
    std::atomic<Call> call{nullptr};
    std::atomic<const void*> work{nullptr};
    std::atomic<int> parts{0};
  };

  void run(int parts, Call call, const void* work);
  bool take();  // runs one part of the current job; false if none is left
  void worker();
  void keep_exception();

  Job job_;
  // Upper half: number of the job. Lower half: parts that nobody has taken yet.
  alignas(64) std::atomic<std::uint64_t> state_{0};
  alignas(64) std::atomic<int> done_{0};
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::mutex owner_;  // held by the thread whose loop runs
  std::mutex sleep_;
  std::condition_variable wake_;
  std::mutex exception_mutex_;
  std::exception_ptr exception_;
  std::vector<std::thread> workers_;
};

}  // namespace wutdet::engine
