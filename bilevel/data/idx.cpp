#include "bilevel/data/idx.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "bilevel/core/error.h"
#include "bilevel/data/lines.h"

namespace bilevel {
namespace {

static_assert(std::endian::native == std::endian::little);

[[noreturn]] void fail(const std::string& path, uint64_t offset, const std::string& message) {
  throw InputError(fmt::format("{}: byte {}: {}", path, offset, message));
}

/// The whole content, unpacked.
std::string unpacked(const std::string& path) {
  ByteReader file(path);
  std::string bytes;
  while (file.append_to(bytes, [&](const char* message) { fail(path, bytes.size(), message); })) {
  }
  if (bytes.empty()) throw InputError(path + ": is empty");
  return bytes;
}

uint64_t big_endian(const std::string& bytes, size_t offset) {
  uint64_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[offset + i]);
  return value;
}

struct ElementType {
  unsigned char code;
  torch::ScalarType type;
};
constexpr ElementType kElementTypes[] = {{0x08, torch::kUInt8},   {0x09, torch::kInt8},
                                         {0x0B, torch::kInt16},   {0x0C, torch::kInt32},
                                         {0x0D, torch::kFloat32}, {0x0E, torch::kFloat64}};

/// An array and where its elements begin in the file.
struct Parsed {
  torch::Tensor array;
  uint64_t offset;
};

Parsed parse(const std::string& path) {
  const std::string bytes = unpacked(path);
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const auto needs = [&](uint64_t size, const char* what) {
    if (bytes.size() < size) {
      fail(path, bytes.size(), fmt::format("the file ends here, inside {}; it is cut or no IDX file", what));
    }
  };
  needs(4, "the magic number");
  if (byte(0) != 0 || byte(1) != 0) {
    fail(path, 0,
         fmt::format("the magic number is 0x{:08X}, but an IDX file begins with two zero bytes",
                     big_endian(bytes, 0)));
  }
  const auto* const type = std::find_if(std::begin(kElementTypes), std::end(kElementTypes),
                                        [&](const ElementType& known) { return known.code == byte(2); });
  if (type == std::end(kElementTypes)) {
    fail(path, 2, fmt::format("0x{:02X} is no element type of an IDX file", byte(2)));
  }
  const size_t dimensions = byte(3);
  if (dimensions == 0) fail(path, 3, "the array has no dimension");
  const uint64_t begin = 4 + 4 * dimensions;
  needs(begin, "the dimensions");
  const uint64_t width = torch::elementSize(type->type);
  const uint64_t present = bytes.size() - begin;
  std::vector<int64_t> shape;
  for (size_t i = 0; i < dimensions; ++i) {
    const uint64_t size = big_endian(bytes, 4 + 4 * i);
    if (size == 0) {
      fail(path, 4 + 4 * i, i == 0 ? "the array has no rows" : fmt::format("dimension {} is 0", i + 1));
    }
    shape.push_back(static_cast<int64_t>(size));
  }
  uint64_t announced = width;
  for (const int64_t dimension : shape) {
    const auto size = static_cast<uint64_t>(dimension);
    // Compared before it is multiplied: the product of 32-bit sizes may exceed 64 bits.
    announced = announced > present / size ? present + 1 : announced * size;
    if (announced > present) {
      fail(path, bytes.size(),
           fmt::format("the file ends here with {} bytes of elements, but the dimensions from byte 4 on "
                       "announce more; it is cut",
                       present));
    }
  }
  if (announced < present) {
    fail(path, begin + announced, fmt::format("{} bytes follow after the last element", present - announced));
  }
  torch::Tensor array = torch::empty(shape, type->type);
  auto* to = static_cast<char*>(array.data_ptr());
  const char* from = bytes.data() + begin;
  if (width == 1) {
    std::memcpy(to, from, present);
  } else {
    for (uint64_t at = 0; at < present; at += width) std::reverse_copy(from + at, from + at + width, to + at);
  }
  return {array, begin};
}

}  // namespace

torch::Tensor read_idx(const std::string& path) { return parse(path).array; }

LabelledArray read_labelled_idx(const std::string& examples, const std::string& labels) {
  const torch::Tensor array = parse(examples).array;
  if (array.dim() < 2) {
    fail(examples, 3, "an array of 1 dimension; examples need 2 or more (is it the file of labels?)");
  }
  const auto [classes, begin] = parse(labels);
  if (classes.dim() != 1) {
    fail(labels, 3,
         fmt::format("an array of {} dimensions, but labels have 1 (is it the file of examples?)",
                     classes.dim()));
  }
  if (classes.is_floating_point()) fail(labels, 2, "labels must be whole numbers");
  if (classes.size(0) != array.size(0)) {
    fail(labels, 4,
         fmt::format("{} labels, but {} has {} examples", classes.size(0), examples, array.size(0)));
  }
  torch::Tensor numbers = classes.to(torch::kInt64);
  const auto* number = numbers.data_ptr<int64_t>();
  for (int64_t i = 0; i < numbers.numel(); ++i) {
    if (number[i] < 0) {
      fail(labels, begin + static_cast<uint64_t>(i) * classes.element_size(),
           fmt::format("the label {} is negative", number[i]));
    }
  }
  return {array, numbers};
}

}  // namespace bilevel
