#include "bilevel/core/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"

namespace bilevel {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

using nlohmann::ordered_json;

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation
constexpr std::string_view kMetadata = "__metadata__";

struct Type {
  torch::ScalarType scalar;
  std::string_view name;
};
constexpr std::array<Type, 10> kTypes{{{torch::kFloat64, "F64"},
                                       {torch::kFloat32, "F32"},
                                       {torch::kFloat16, "F16"},
                                       {torch::kBFloat16, "BF16"},
                                       {torch::kInt64, "I64"},
                                       {torch::kInt32, "I32"},
                                       {torch::kInt16, "I16"},
                                       {torch::kInt8, "I8"},
                                       {torch::kUInt8, "U8"},
                                       {torch::kBool, "BOOL"}}};

/// A tensor's place in the file: its header entry.
struct Entry {
  std::string name;
  torch::ScalarType type;
  std::vector<int64_t> shape;
  uint64_t begin;
  uint64_t end;
};

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) {
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (status.type() == std::filesystem::file_type::not_found)
      throw InputError(path + ": there is no such file.");
    if (std::filesystem::is_directory(status)) throw InputError(path + ": is a folder, not a file.");
    size_ = std::filesystem::file_size(path, error);
    stream_.open(path, std::ios::binary);
    if (error || !stream_) fail("cannot be read");
  }

  SafetensorsFile read() {
    if (size_ < kLengthBytes) fail("is no safetensors file: it has only {} bytes", size_);
    uint64_t length = 0;
    read_bytes(&length, 0, kLengthBytes);
    if (length > kMaxHeaderBytes) fail("is no safetensors file: its header would have {} bytes", length);
    if (length > size_ - kLengthBytes) {
      fail("is cut: its header should have {} bytes, but only {} follow", length, size_ - kLengthBytes);
    }
    std::string text(length, '\0');
    read_bytes(text.data(), kLengthBytes, length);
    data_begin_ = kLengthBytes + length;

    const ordered_json header = ordered_json::parse(text, nullptr, false);
    if (!header.is_object()) fail("is damaged: its header is not a JSON object");
    SafetensorsFile file;
    std::vector<Entry> entries;
    for (const auto& [name, value] : header.items()) {
      if (name == kMetadata) {
        file.metadata = metadata(value);
      } else {
        entries.push_back(entry(name, value));
      }
    }
    check_places(entries);
    for (const Entry& e : entries) file.tensors.emplace(e.name, tensor(e));
    return file;
  }

 private:
  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw FileError(fmt::format("{}: {}.", path_, fmt::format(format, std::forward<Args>(args)...)));
  }

  void read_bytes(void* to, uint64_t from, uint64_t count) {
    stream_.seekg(static_cast<std::streamoff>(from));
    if (count > 0 && !stream_.read(static_cast<char*>(to), static_cast<std::streamsize>(count))) {
      fail("cannot be read at byte {}", from);
    }
  }

  std::map<std::string, std::string> metadata(const ordered_json& value) const {
    if (!value.is_object()) fail("is damaged: {} is not an object", kMetadata);
    std::map<std::string, std::string> result;
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) fail("is damaged: the metadata '{}' is not a string", key);
      result.emplace(key, text.get<std::string>());
    }
    return result;
  }

  Entry entry(const std::string& name, const ordered_json& value) const {
    const auto is_count = [](const ordered_json& number) { return number.is_number_unsigned(); };
    const auto is_list = [&](const char* key) {
      return value.contains(key) && value[key].is_array() && std::ranges::all_of(value[key], is_count);
    };
    if (!value.is_object() || !value.contains("dtype") || !value["dtype"].is_string() || !is_list("shape") ||
        !is_list("data_offsets") || value["data_offsets"].size() != 2) {
      fail("is damaged: the header entry of tensor '{}' needs dtype, shape and two data_offsets", name);
    }
    const auto type_name = value["dtype"].get<std::string>();
    const auto type = std::ranges::find(kTypes, type_name, &Type::name);
    if (type == kTypes.end()) fail("tensor '{}' has the type {}, which is not supported", name, type_name);
    Entry e{name,
            type->scalar,
            {},
            value["data_offsets"][0].get<uint64_t>(),
            value["data_offsets"][1].get<uint64_t>()};
    uint64_t bytes = torch::elementSize(type->scalar);
    for (const ordered_json& number : value["shape"]) {
      const auto extent = number.get<uint64_t>();
      if (extent > INT64_MAX || __builtin_mul_overflow(bytes, extent, &bytes)) {
        fail("is damaged: the shape of tensor '{}' is impossible", name);
      }
      e.shape.push_back(static_cast<int64_t>(extent));
    }
    if (e.begin > e.end) fail("is damaged: the offsets of tensor '{}' fall ({} to {})", name, e.begin, e.end);
    if (e.end - e.begin != bytes) {
      fail("is damaged: tensor '{}' needs {} bytes, but its offsets span {}", name, bytes, e.end - e.begin);
    }
    return e;
  }

  /// The tensors must cover the data exactly: no overlap, no hole, nothing missing, nothing left over.
  void check_places(std::vector<Entry>& entries) const {
    std::ranges::sort(entries, {}, [](const Entry& e) { return std::pair(e.begin, e.end); });
    uint64_t end = 0;
    for (const Entry& e : entries) {
      if (e.begin < end) fail("is damaged: tensor '{}' overlaps the one before it", e.name);
      if (e.begin > end)
        fail("is damaged: no tensor owns the {} bytes before tensor '{}'", e.begin - end, e.name);
      if (e.end > size_ - data_begin_) {
        fail("is cut: tensor '{}' ends at byte {} of the data, which has only {} bytes", e.name, e.end,
             size_ - data_begin_);
      }
      end = e.end;
    }
    if (end != size_ - data_begin_)
      fail("is damaged: {} bytes follow the last tensor", size_ - data_begin_ - end);
  }

  torch::Tensor tensor(const Entry& e) {
    torch::Tensor result = torch::empty(e.shape, torch::TensorOptions().dtype(e.type));
    const auto count = static_cast<uint64_t>(result.nbytes());
    read_bytes(result.data_ptr(), data_begin_ + e.begin, count);
    if (e.type == torch::kBool) {  // any other byte would be undefined behaviour
      const auto* bytes = static_cast<const unsigned char*>(result.data_ptr());
      if (std::any_of(bytes, bytes + count, [](unsigned char byte) { return byte > 1; })) {
        fail("is damaged: tensor '{}' has the type BOOL and holds other bytes than 0 and 1", e.name);
      }
    }
    return result;
  }

  std::string path_;
  std::ifstream stream_;
  uint64_t size_ = 0;
  uint64_t data_begin_ = 0;
};

}  // namespace

void save_safetensors(const std::string& path, const std::map<std::string, torch::Tensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::vector<std::pair<std::string, torch::Tensor>> ordered;
  for (const auto& [name, tensor] : tensors) {
    if (name == kMetadata) throw InputError(fmt::format("A tensor cannot have the name '{}'.", kMetadata));
    if (!tensor.defined()) throw InputError(fmt::format("Tensor '{}' is undefined.", name));
    if (tensor.layout() != torch::kStrided ||
        std::ranges::find(kTypes, tensor.scalar_type(), &Type::scalar) == kTypes.end()) {
      throw InputError(
          fmt::format("Tensor '{}' ({}) has a type or layout that safetensors files cannot hold.", name,
                      torch::toString(tensor.scalar_type())));
    }
    ordered.emplace_back(name, tensor.detach().resolve_conj().resolve_neg().cpu().contiguous());
  }
  std::ranges::stable_sort(ordered, std::ranges::greater{},
                           [](const auto& item) { return item.second.element_size(); });

  ordered_json header = ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadata)] = metadata;
  uint64_t offset = 0;
  for (const auto& [name, tensor] : ordered) {
    const auto type = std::ranges::find(kTypes, tensor.scalar_type(), &Type::scalar);
    header[name] = {{"dtype", type->name},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, offset + tensor.nbytes()}}};
    offset += tensor.nbytes();
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const ordered_json::exception&) {
    throw InputError(fmt::format("{}: a tensor's name or the metadata is not UTF-8.", path));
  }
  text.append((kLengthBytes - text.size() % kLengthBytes) % kLengthBytes, ' ');
  const uint64_t length = text.size();

  std::vector<std::string_view> parts{{reinterpret_cast<const char*>(&length), kLengthBytes}, text};
  for (const auto& [name, tensor] : ordered) {
    parts.emplace_back(static_cast<const char*>(tensor.data_ptr()), tensor.nbytes());
  }
  write_file_atomically(path, parts);
}

SafetensorsFile load_safetensors(const std::string& path) { return Reader(path).read(); }

}  // namespace bilevel
