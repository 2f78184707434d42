#include "core/coco_json.h"

#include <future>
#include <limits>
#include <string_view>
#include <system_error>

#include "core/json_cursor.h"

namespace wutdet {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kWorthTwoThreads = std::size_t{1} << 20;  // bytes of a list

// One bit per key that was seen; a key given twice is declined, as the last one would count.
class SeenKeys {
 public:
  bool first(int key) {
    const unsigned bit = 1u << key;
    const bool fresh = !(bits_ & bit);
    bits_ |= bit;
    return fresh;
  }
  bool has(int key) const { return bits_ >> key & 1; }

 private:
  unsigned bits_ = 0;
};

// An object: `member(key)` takes the value. The cursor stands on the opening brace.
template <typename Member>
bool read_object(JsonCursor& json, Member member) {
  if (!json.take('{')) return false;
  json.skip_space();
  if (json.take('}')) return true;
  for (;;) {
    std::string_view key;
    if (!json.key(key) || !member(key)) return false;
    json.skip_space();
    if (json.take('}')) return true;
    if (!json.take(',')) return false;
    json.skip_space();
  }
}

bool read_box(JsonCursor& json, double* xywh) {
  if (!json.take('[')) return false;
  for (int i = 0; i < 4; ++i) {
    json.skip_space();
    if (i && !json.take(',')) return false;
    json.skip_space();
    if (!json.number(xywh[i])) return false;
  }
  json.skip_space();
  return json.take(']');
}

// 0, 1, true or false.
bool read_flag(JsonCursor& json, std::uint8_t& out) {
  if (*json.at == 't' || *json.at == 'f') {
    out = *json.at == 't';
    return json.take_word(out ? "true" : "false");
  }
  std::int64_t value;
  if (!json.integer(value) || (value != 0 && value != 1)) return false;
  out = static_cast<std::uint8_t>(value);
  return true;
}

template <typename Value>
void append(std::vector<Value>& to, const std::vector<Value>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

struct ResultRows {
  CocoResults& out;

  bool read(JsonCursor& json) {
    std::int64_t image = 0, category = 0;
    double box[4] = {}, score = 0;
    SeenKeys seen;
    const bool good = read_object(json, [&](std::string_view key) {
      if (key == "image_id") return seen.first(0) && json.integer(image);
      if (key == "category_id") return seen.first(1) && json.integer(category);
      if (key == "bbox") return seen.first(2) && read_box(json, box);
      if (key == "score") return seen.first(3) && json.number(score);
      return json.skip_value();
    });
    if (!good || !seen.has(0) || !seen.has(1) || !seen.has(2) || !seen.has(3)) return false;
    out.image_id.push_back(image);
    out.category_id.push_back(category);
    out.bbox.insert(out.bbox.end(), box, box + 4);
    out.score.push_back(score);
    return true;
  }

  void append_all(const CocoResults& more) {
    append(out.image_id, more.image_id);
    append(out.category_id, more.category_id);
    append(out.bbox, more.bbox);
    append(out.score, more.score);
  }
};

struct AnnotationRows {
  CocoTruth& out;

  bool read(JsonCursor& json) {
    std::int64_t id = 0, image = 0, category = 0;
    double box[4] = {}, area = kNone;
    std::uint8_t crowd = 0, ignore = 0;
    SeenKeys seen;
    const bool good = read_object(json, [&](std::string_view key) {
      if (key == "image_id") return seen.first(0) && json.integer(image);
      if (key == "category_id") return seen.first(1) && json.integer(category);
      if (key == "bbox") return seen.first(2) && read_box(json, box);
      if (key == "id") return seen.first(3) && json.integer(id);
      if (key == "area") return seen.first(4) && json.number(area);
      if (key == "iscrowd") return seen.first(5) && read_flag(json, crowd);
      if (key == "ignore") return seen.first(6) && read_flag(json, ignore);
      return json.skip_value();
    });
    if (!good || !seen.has(0) || !seen.has(1) || !seen.has(2)) return false;
    if (seen.has(3)) out.box_id.push_back(id);
    out.box_image_id.push_back(image);
    out.box_category_id.push_back(category);
    out.bbox.insert(out.bbox.end(), box, box + 4);
    out.area.push_back(area);
    out.crowd.push_back(crowd);
    out.ignore.push_back(ignore);
    return true;
  }

  void append_all(const CocoTruth& more) {
    append(out.box_id, more.box_id);
    append(out.box_image_id, more.box_image_id);
    append(out.box_category_id, more.box_category_id);
    append(out.bbox, more.bbox);
    append(out.area, more.area);
    append(out.crowd, more.crowd);
    append(out.ignore, more.ignore);
  }
};

struct ImageRows {
  CocoTruth& out;
  bool split_differs = false;

  bool read(JsonCursor& json) {
    std::int64_t id = 0;
    double width = kNone, height = kNone;
    std::string_view split;
    SeenKeys seen;
    const bool good = read_object(json, [&](std::string_view key) {
      if (key == "id") return seen.first(0) && json.integer(id);
      if (key == "width") return seen.first(1) && json.number(width);
      if (key == "height") return seen.first(2) && json.number(height);
      if (key == "split") return seen.first(3) && json.plain_string(split);
      return json.skip_value();
    });
    if (!good || !seen.has(0)) return false;
    if (out.image_id.empty()) {
      out.split = std::string(split);
      out.has_split = seen.has(3);
    } else if (seen.has(3) != out.has_split || split != out.split) {
      split_differs = true;
    }
    out.image_id.push_back(id);
    out.size_wh.push_back(width);
    out.size_wh.push_back(height);
    return true;
  }
};

struct CategoryRows {
  CocoTruth& out;

  bool read(JsonCursor& json) {
    std::int64_t id = 0;
    std::string_view name;
    SeenKeys seen;
    const bool good = read_object(json, [&](std::string_view key) {
      if (key == "id") return seen.first(0) && json.integer(id);
      if (key == "name") return seen.first(1) && json.plain_string(name);
      return json.skip_value();
    });
    if (!good || !seen.has(0)) return false;
    out.category_id.push_back(id);
    out.category_name.push_back(seen.has(1) ? std::string(name) : std::to_string(id));
    return true;
  }
};

enum class Stop { kDeclined, kEndOfList, kAtMark };

// Rows up to the bracket that ends the list, or up to `mark` where a row starts there. The cursor stands on a row.
template <typename Rows>
Stop read_rows(JsonCursor& json, Rows& rows, const char* mark) {
  for (;;) {
    if (json.at == mark) return Stop::kAtMark;
    if (!rows.read(json)) return Stop::kDeclined;
    json.skip_space();
    if (json.take(']')) return Stop::kEndOfList;
    if (!json.take(',')) return Stop::kDeclined;
    json.skip_space();
  }
}

// Whether the list has rows; the cursor then stands on the first, or else behind the list.
bool enter_list(JsonCursor& json, bool& has_rows) {
  if (!json.take('[')) return false;
  json.skip_space();
  has_rows = !json.take(']');
  return true;
}

template <typename Rows>
bool read_list(JsonCursor& json, Rows& rows) {
  bool has_rows;
  if (!enter_list(json, has_rows)) return false;
  return !has_rows || read_rows(json, rows, nullptr) == Stop::kEndOfList;
}

// The first place from `from` on that looks like the start of a row behind another one; nullptr where there is none.
const char* guess_row(const char* from, const char* end) {
  for (const char* at = from; at < end; ++at) {
    if (*at != '}') continue;
    JsonCursor json(at + 1);
    json.skip_space();
    if (!json.take(',')) continue;
    json.skip_space();
    if (*json.at == '{') return json.at;
  }
  return nullptr;
}

// The same as read_list with two threads. The second one starts at a guess. Its rows are used only if the first one
// arrives exactly there, on a row: then it read what the first one would have read next. Otherwise the first one reads
// all, so a wrong guess (a brace inside a text, say) costs time only.
template <typename Rows, typename Columns>
bool read_list_in_two(JsonCursor& json, Rows& rows, const char* end, Columns& more) {
  const char* guess = guess_row(json.at + (end - json.at) / 2, end);
  if (guess == nullptr) return read_list(json, rows);
  Rows more_rows{more};
  JsonCursor ahead(guess);
  std::future<Stop> second;
  try {
    second = std::async(std::launch::async, [&] { return read_rows(ahead, more_rows, nullptr); });
  } catch (const std::system_error&) {  // no more threads to be had
    return read_list(json, rows);
  }
  bool has_rows;
  if (!enter_list(json, has_rows)) return false;
  if (!has_rows) return true;
  const Stop stop = read_rows(json, rows, guess);
  if (stop != Stop::kAtMark) return stop == Stop::kEndOfList;
  if (second.get() != Stop::kEndOfList) return false;
  rows.append_all(more);
  json.at = ahead.at;
  return true;
}

template <typename Rows, typename Columns>
bool read_long_list(JsonCursor& json, Columns& out, const char* end, std::size_t threads) {
  Rows rows{out};
  if (threads < 2 || static_cast<std::size_t>(end - json.at) < kWorthTwoThreads) return read_list(json, rows);
  Columns more;
  return read_list_in_two(json, rows, end, more);
}

}  // namespace

bool read_coco_results(const char* text, std::size_t size, std::size_t threads, CocoResults& out) {
  JsonCursor json(text);
  json.skip_space();
  if (!read_long_list<ResultRows>(json, out, text + size, threads)) return false;
  json.skip_space();
  return json.at == text + size;
}

bool read_coco_truth(const char* text, std::size_t size, std::size_t threads, CocoTruth& out) {
  JsonCursor json(text);
  json.skip_space();
  SeenKeys seen;
  ImageRows images{out};
  CategoryRows categories{out};
  const bool good = read_object(json, [&](std::string_view key) {
    if (key == "images") return seen.first(0) && read_list(json, images);
    if (key == "annotations")
      return seen.first(1) && read_long_list<AnnotationRows>(json, out, text + size, threads);
    if (key == "categories") return seen.first(2) && read_list(json, categories);
    return json.skip_value();
  });
  if (!good || !seen.has(0) || !seen.has(1) || !seen.has(2)) return false;
  if (!out.box_id.empty() && out.box_id.size() != out.area.size()) return false;
  if (images.split_differs) out.has_split = false;
  json.skip_space();
  return json.at == text + size;
}

}  // namespace wutdet
