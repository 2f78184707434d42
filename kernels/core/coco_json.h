// COCO files as columns, without a tree of values in between. What is unusual is declined, not diagnosed: the caller
// then reads the file with a full parser, which says what is wrong or copes with it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wutdet {

// A result file: a list of objects. Objects may have other keys.
struct CocoResults {
  std::vector<std::int64_t> image_id, category_id;
  std::vector<double> bbox;  // 4 per row, left, top, width, height
  std::vector<double> score;
};

// A ground-truth file: an object with the lists "images", "annotations" and "categories".
struct CocoTruth {
  std::vector<std::int64_t> image_id;
  std::vector<double> size_wh;  // 2 per image; NaN where the file says nothing
  std::string split;            // of all images, where they agree
  bool has_split = false;

  std::vector<std::int64_t> box_image_id, box_category_id;
  std::vector<std::int64_t> box_id;  // of all boxes, or of none
  std::vector<double> bbox;          // 4 per row
  std::vector<double> area;          // NaN where the file says nothing
  std::vector<std::uint8_t> crowd, ignore;

  std::vector<std::int64_t> category_id;
  std::vector<std::string> category_name;
};

// `text` has `size` bytes and a zero byte behind them. Both return false where they decline: not JSON, a key missing or
// given twice, another type than usual (ids that are not whole numbers, flags that are not 0, 1, true or false), numbers
// that are not finite or have more than 18 digits before the point, an escape in a key or a text that matters. Never
// accepted is what Python's json module rejects; numbers are the same doubles as there. Ids are not compared.
// Throws std::bad_alloc; columns take no more memory than about three times the text.
bool read_coco_results(const char* text, std::size_t size, std::size_t threads, CocoResults& out);
bool read_coco_truth(const char* text, std::size_t size, std::size_t threads, CocoTruth& out);

}  // namespace wutdet
