#include "core/engine/thread_pool.h"

#include <chrono>
#include <stdexcept>
#include <string>

namespace wutdet::engine {
namespace {

// Longer than what lies between two layers, shorter than what a person would see in a process list.
constexpr auto kAwake = std::chrono::microseconds(50);
constexpr int kLooksPerClock = 64;

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

constexpr std::uint64_t kPartsMask = 0xFFFFFFFFu;

}  // namespace

ThreadPool::ThreadPool(int threads) {
  if (threads < 1 || threads > kMostThreads)
    throw std::invalid_argument("threads must be 1 to " + std::to_string(kMostThreads) + ", received " +
                                std::to_string(threads));
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { worker(); });
  } catch (...) {  // the system gives no more threads: those that started must end before the members do
    {
      const std::lock_guard lock(sleep_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    throw;
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(sleep_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::keep_exception() {
  const std::lock_guard lock(exception_mutex_);
  if (!exception_) exception_ = std::current_exception();
}

bool ThreadPool::take() {
  std::uint64_t seen = state_.load(std::memory_order_acquire);
  for (;;) {
    const auto left = static_cast<int>(seen & kPartsMask);
    if (left == 0) return false;
    // The job is not replaced before all of its parts are done. If the exchange succeeds, this part was not, so what
    // was read belongs to it; if it fails, what was read is thrown away.
    const Call call = job_.call.load(std::memory_order_relaxed);
    const void* work = job_.work.load(std::memory_order_relaxed);
    const int parts = job_.parts.load(std::memory_order_relaxed);
    if (!state_.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    try {
      call(work, parts - left);
    } catch (...) {
      keep_exception();
    }
    done_.fetch_add(1, std::memory_order_release);
    return true;
  }
}

void ThreadPool::run(int parts, Call call, const void* work) {
  if (parts <= 0) return;
  std::unique_lock owner(owner_, std::defer_lock);
  if (parts == 1 || workers_.empty() || !owner.try_lock()) {
    std::exception_ptr first;
    for (int part = 0; part < parts; ++part) {
      try {
        call(work, part);
      } catch (...) {
        if (!first) first = std::current_exception();
      }
    }
    if (first) std::rethrow_exception(first);
    return;
  }
  job_.call.store(call, std::memory_order_relaxed);
  job_.work.store(work, std::memory_order_relaxed);
  job_.parts.store(parts, std::memory_order_relaxed);
  done_.store(0, std::memory_order_relaxed);
  const std::uint64_t next = (state_.load(std::memory_order_relaxed) >> 32) + 1;
  // Sequentially consistent, as is what a worker does before it sleeps: one of the two sees the other.
  state_.store((next << 32) | static_cast<std::uint64_t>(parts));
  if (sleepers_.load() > 0) {
    { const std::lock_guard lock(sleep_); }
    wake_.notify_all();
  }
  while (take()) {}
  for (int looks = 0; done_.load(std::memory_order_acquire) != parts; ++looks) {
    pause();
    if (looks >= 4 * kLooksPerClock) std::this_thread::yield();  // somebody else needs this processor
  }
  std::exception_ptr failed;
  {
    const std::lock_guard lock(exception_mutex_);
    failed.swap(exception_);
  }
  owner.unlock();
  if (failed) std::rethrow_exception(failed);
}

void ThreadPool::worker() {
  using Clock = std::chrono::steady_clock;
  while (!stop_.load(std::memory_order_relaxed)) {
    if (take()) continue;
    auto until = Clock::now() + kAwake;
    bool found = false;
    while (!found && Clock::now() < until)
      for (int looks = 0; looks < kLooksPerClock && !found; ++looks) {
        found = (state_.load(std::memory_order_relaxed) & kPartsMask) != 0;
        pause();
      }
    if (found) continue;
    std::unique_lock lock(sleep_);
    sleepers_.fetch_add(1);
    wake_.wait(lock, [this] { return stop_.load() || (state_.load() & kPartsMask) != 0; });
    sleepers_.fetch_sub(1);
  }
}

}  // namespace wutdet::engine
