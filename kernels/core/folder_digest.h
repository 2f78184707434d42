// A digest over the files of one folder, to notice that any of them was changed, added or removed.
#pragma once

#include <cstdint>
#include <string>

namespace wutdet {

struct FolderDigest {
  std::uint64_t low = 0, high = 0;   // sums of two mixes of (name, size, mtime): the order of the listing is free
  std::uint64_t files = 0;           // entries counted in
  std::int64_t newest_mtime_ns = 0;  // since 1970-01-01 UTC
};

// Looks at every regular file (symbolic links are followed) directly in `folder` whose name ends in `suffix` (all where
// that is empty; ASCII case is ignored). Opens no file. Returns 0, or the errno of the listing.
int folder_digest(const std::string& folder, const std::string& suffix, FolderDigest& out);

}  // namespace wutdet
