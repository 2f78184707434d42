#include "core/folder_digest.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#ifdef _WIN32
#include <chrono>
#include <filesystem>
#include <system_error>
#else
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace wutdet {
namespace {

// Below this a thread costs more than it saves: one file takes about 2 microseconds.
constexpr std::size_t kFilesPerThread = 4096;

// Finaliser of SplitMix64 (Steele, Lea, Flood 2014).
std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// FNV-1a, 64 bits.
std::uint64_t hash_name(const char* name, std::size_t length) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (std::size_t i = 0; i < length; ++i) hash = (hash ^ static_cast<unsigned char>(name[i])) * 0x100000001b3ull;
  return hash;
}

bool ends_with(const char* name, std::size_t length, const std::string& suffix) {
  if (length < suffix.size()) return false;
  const char* tail = name + length - suffix.size();
  for (std::size_t i = 0; i < suffix.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(tail[i])) != std::tolower(static_cast<unsigned char>(suffix[i]))) {
      return false;
    }
  }
  return true;
}

void add(FolderDigest& out, std::uint64_t name, std::uint64_t size, std::int64_t mtime_ns) {
  const std::uint64_t time = static_cast<std::uint64_t>(mtime_ns);
  out.low += mix(name ^ mix(size + 0x9e3779b97f4a7c15ull) ^ mix(time + 0x632be59bd9b4e019ull));
  out.high += mix(mix(name + 0x9e3779b97f4a7c15ull) + mix(size) * 3 + mix(time) * 5);
  out.files += 1;
  if (mtime_ns > out.newest_mtime_ns) out.newest_mtime_ns = mtime_ns;
}

}  // namespace

#ifdef _WIN32

int folder_digest(const std::string& folder, const std::string& suffix, FolderDigest& out) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::directory_iterator entries(fs::u8path(folder), error);
  if (error) return error.value();
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().u8string();
    if (!ends_with(name.data(), name.size(), suffix) || !entry.is_regular_file(error) || error) continue;
    const std::uint64_t size = entry.file_size(error);
    if (error) continue;
    const auto time = entry.last_write_time(error).time_since_epoch();
    if (error) continue;
    // file_time counts from 1601 there; the difference in seconds is a constant of the platform.
    const std::int64_t ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                                time - std::chrono::seconds(11644473600ll)).count();
    add(out, hash_name(name.data(), name.size()), size, ns);
  }
  return 0;
}

#else

namespace {

std::int64_t mtime_ns_of(const struct stat& status) {
#ifdef __APPLE__
  const struct timespec time = status.st_mtimespec;
#else
  const struct timespec time = status.st_mtim;
#endif
  return static_cast<std::int64_t>(time.tv_sec) * 1000000000ll + time.tv_nsec;
}

// The names are one after the other in `names`, each with its terminating zero; `starts` says where.
FolderDigest digest_of(int folder, const std::string& names, const std::size_t* starts, std::size_t count) {
  FolderDigest out;
  for (std::size_t i = 0; i < count; ++i) {
    const char* name = names.data() + starts[i];
    struct stat status;
    // Relative to the open folder: the system need not walk the whole path for each file.
    if (fstatat(folder, name, &status, 0) != 0 || !S_ISREG(status.st_mode)) continue;
    add(out, hash_name(name, std::strlen(name)), static_cast<std::uint64_t>(status.st_size), mtime_ns_of(status));
  }
  return out;
}

}  // namespace

int folder_digest(const std::string& folder, const std::string& suffix, FolderDigest& out) {
  DIR* listing = opendir(folder.c_str());
  if (listing == nullptr) return errno;
  std::string names;
  std::vector<std::size_t> starts;
  errno = 0;
  while (const dirent* entry = readdir(listing)) {
    const std::size_t length = std::strlen(entry->d_name);
    if (!ends_with(entry->d_name, length, suffix)) continue;
    starts.push_back(names.size());
    names.append(entry->d_name, length + 1);
  }
  const int failure = errno;
  const int descriptor = dirfd(listing);
  const std::size_t most = std::max<std::size_t>(1, starts.size() / kFilesPerThread);
  const std::size_t threads = std::min<std::size_t>({most, std::max(1u, std::thread::hardware_concurrency()), 8});
  std::vector<FolderDigest> parts(threads);
  std::vector<std::thread> helpers;
  const auto run = [&](std::size_t part) {
    const std::size_t begin = starts.size() * part / threads, end = starts.size() * (part + 1) / threads;
    parts[part] = digest_of(descriptor, names, starts.data() + begin, end - begin);
  };
  for (std::size_t part = 1; part < threads; ++part) helpers.emplace_back(run, part);
  run(0);
  for (std::thread& helper : helpers) helper.join();
  closedir(listing);
  for (const FolderDigest& part : parts) {
    out.low += part.low;
    out.high += part.high;
    out.files += part.files;
    out.newest_mtime_ns = std::max(out.newest_mtime_ns, part.newest_mtime_ns);
  }
  return failure;
}

#endif

}  // namespace wutdet
