// A device beside the CPU, made of the host's memory, that counts what passes between the two.
#pragma once

#include <ATen/EmptyTensor.h>
#include <ATen/detail/HPUHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>
#include <torch/types.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>

namespace bilevel {

/// What the device was asked for since `reset`. Autograd works for it in a thread of its own.
struct Traffic {
  std::atomic<int64_t> waits = 0;  ///< the host reads a number or a tensor, or a size that depends on numbers
  std::atomic<int64_t> transfers =
      0;                             ///< a tensor comes from the host and the host waits until it has arrived
  std::atomic<int64_t> kernels = 0;  ///< operations that a device would launch
  std::atomic<int64_t> allocations = 0;
  void reset() { waits = transfers = kernels = allocations = 0; }
};

namespace counted {

constexpr auto kKind = c10::DeviceType::HPU;

inline Traffic traffic;
/// Whether the CPU is at work in the device's place, whose own copies do not count.
inline thread_local bool computing = false;

inline int64_t free_memory = 1'000'000;

struct Memory : c10::DeviceAllocator {
  c10::DataPtr allocate(size_t bytes) override {
    if (!computing) ++traffic.allocations;
    void* data = bytes > 0 ? std::malloc(bytes) : nullptr;
    return {data, data, std::free, c10::Device(kKind, 0)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return std::free; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override { return {}; }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex) override {
    return {static_cast<size_t>(free_memory), static_cast<size_t>(free_memory)};
  }
};

struct Guard : c10::impl::NoOpDeviceGuardImpl<kKind> {
  c10::Device exchangeDevice(c10::Device) const override { return {kKind, 0}; }
  c10::Device getDevice() const override { return {kKind, 0}; }
  c10::Stream getStream(c10::Device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, c10::Device(kKind, 0));
  }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return getStream({kKind, 0}); }
};

struct Hooks : at::HPUHooksInterface {
  explicit Hooks(at::HPUHooksArgs) {}
  void init() const override {}
  bool hasHPU() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
};

inline Memory memory;

struct Kernels {  // members, so that no call looks for a namesake in at::
  static at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride,
                                  std::optional<at::ScalarType> type, std::optional<at::Layout>,
                                  std::optional<at::Device>, std::optional<bool>) {
    return at::detail::empty_strided_generic(
        size, stride, &memory, c10::DispatchKeySet(c10::DispatchKey::HPU), at::dtype_or_default(type));
  }

  static at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> type,
                          std::optional<at::Layout> layout, std::optional<at::Device> device,
                          std::optional<bool> pinned, std::optional<at::MemoryFormat>) {
    const c10::DimVector stride = c10::contiguous_strides(size);
    return empty_strided(size, stride, type, layout, device, pinned);
  }

  /// The same memory as a tensor of the CPU.
  static at::Tensor on_host(const at::Tensor& t) {
    if (t.is_cpu()) return t;
    return at::from_blob(
        t.data_ptr(), t.sizes(), t.strides(), [kept = t](void*) {}, t.options().device(at::kCPU));
  }

  static at::Tensor copy(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
    if (!computing) {
      if (from.is_cpu() && !non_blocking) ++traffic.transfers;
      if (to.is_cpu()) ++traffic.waits;
    }
    on_host(to).copy_(on_host(from));
    return to;
  }

  static at::Scalar number(const at::Tensor& t) {
    ++traffic.waits;
    return on_host(t).item();
  }

  static const at::Tensor& resize(const at::Tensor& t, at::IntArrayRef size,
                                  std::optional<at::MemoryFormat>) {
    if (t.sizes() == size) return t;
    const at::Tensor made = empty(size, t.scalar_type(), {}, {}, {}, {});
    t.unsafeGetTensorImpl()->set_storage_keep_dtype(made.storage());
    t.unsafeGetTensorImpl()->set_sizes_contiguous(size);
    return t;
  }

  static at::Tensor copy_and_resize(const at::Tensor& from, const at::Tensor& to) {
    resize(to, from.sizes(), {});
    return copy(from, to, false);
  }

  static at::Tensor as_strided(const at::Tensor& t, at::IntArrayRef size, at::IntArrayRef stride,
                               std::optional<int64_t> offset) {
    return at::native::as_strided_tensorimpl(t, size, stride, offset);
  }

  static at::Tensor unfold(const at::Tensor& t, int64_t dim, int64_t size, int64_t step) {
    return at::native::unfold(t, dim, size, step);
  }
  static at::Tensor view(const at::Tensor& t, at::IntArrayRef size) { return at::native::view(t, size); }
  static at::Tensor reshape_alias(const at::Tensor& t, at::IntArrayRef size, at::IntArrayRef stride) {
    return as_strided(t, size, stride, t.storage_offset());
  }
};

/// Whether a device must tell the host how large the result is.
inline bool tells_a_size(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  static const std::set<std::string> kinds{"aten::nonzero",  "aten::masked_select",     "aten::_unique",
                                           "aten::_unique2", "aten::unique_dim",        "aten::equal",
                                           "aten::bincount", "aten::unique_consecutive"};
  const std::string& name = op.schema().name();
  if (name == "aten::repeat_interleave") return stack.back().isNone();  // its last argument is the size
  if (kinds.contains(name)) return true;
  if (name.find("index") == std::string::npos) return false;
  for (const c10::IValue& value : stack) {  // a mask
    if (!value.isOptionalTensorList()) continue;
    for (const std::optional<at::Tensor>& index : value.toOptionalTensorVector())
      if (index && index->defined() && index->scalar_type() == at::kBool) return true;
  }
  return false;
}

inline void compute(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  ++traffic.kernels;
  if (tells_a_size(op, *stack)) ++traffic.waits;
  const bool outer = std::exchange(computing, true);
  try {
    at::native::cpu_fallback(op, stack);
  } catch (...) {
    computing = outer;
    throw;
  }
  computing = outer;
}

inline bool registered() {
  static Guard guard;
  c10::SetAllocator(kKind, &memory);
  static const c10::impl::DeviceGuardImplRegistrar guards(kKind, &guard);
  at::HPUHooksRegistry()->Register("HPUHooks",
                                   [](at::HPUHooksArgs args) { return std::make_unique<Hooks>(args); });
  static torch::Library kernels(torch::Library::IMPL, "aten", c10::DispatchKey::HPU, __FILE__, __LINE__);
  kernels.impl("empty.memory_format", Kernels::empty);
  kernels.impl("empty_strided", Kernels::empty_strided);
  kernels.impl("_copy_from", Kernels::copy);
  kernels.impl("_local_scalar_dense", Kernels::number);
  kernels.impl("resize_", Kernels::resize);
  kernels.impl("_copy_from_and_resize", Kernels::copy_and_resize);
  kernels.impl("as_strided", Kernels::as_strided);
  kernels.impl("unfold", Kernels::unfold);
  kernels.impl("view", Kernels::view);
  kernels.impl("_reshape_alias", Kernels::reshape_alias);
  static torch::Library others(torch::Library::IMPL, "_", c10::DispatchKey::HPU, __FILE__, __LINE__);
  others.fallback(torch::CppFunction::makeFromBoxedFunction<&compute>());
  return true;
}

}  // namespace counted

/// The device; its traffic.
inline torch::Device counted_device() {
  static const bool once = counted::registered();
  static_cast<void>(once);
  return {counted::kKind, 0};
}
inline Traffic& traffic() { return counted::traffic; }
/// Bytes that it says are free.
inline int64_t& free_memory_of_counted_device() { return counted::free_memory; }

}  // namespace bilevel
