// Tensors in a file that other programs read: the safetensors format (an 8-byte little-endian header length,
// a JSON header with names, types, shapes and offsets, then the raw little-endian numbers).
#pragma once

#include <torch/types.h>

#include <map>
#include <string>

namespace bilevel {

/// What a safetensors file holds.
struct SafetensorsFile {
  std::map<std::string, torch::Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Writes named tensors and string metadata, atomically (see `write_file_atomically`). Equal content gives
/// equal bytes: tensors stand in order of falling element size and then by name, so that each is aligned, and
/// the header is padded to 8 bytes. Types: float64, float32, float16, bfloat16, int64, int32, int16, int8,
/// uint8, bool. Tensors may lie on any device and be non-contiguous (they are then copied); shapes are kept,
/// views and gradients are not. Throws InputError for an undefined or non-dense tensor, another type, the
/// name `__metadata__`, or text that is not UTF-8; FileError when writing fails.
void save_safetensors(const std::string& path, const std::map<std::string, torch::Tensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

/// Reads such a file; the tensors are contiguous, own their memory and lie on the CPU. Throws InputError when
/// there is no such file, FileError, naming file and tensor, when it is cut, damaged, or holds a type that is
/// not listed above.
SafetensorsFile load_safetensors(const std::string& path);

}  // namespace bilevel
