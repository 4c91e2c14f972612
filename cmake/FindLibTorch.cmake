# Finds LibTorch without asking for a CUDA toolkit: a CUDA build of LibTorch on a machine without nvcc must still
# configure (its own TorchConfig.cmake stops there). Looks in CMAKE_PREFIX_PATH, both for a LibTorch folder and for the
# share/cmake folder that torch.utils.cmake_prefix_path prints. Defines the target LibTorch::LibTorch and
# LibTorch_ROOT_DIR.
set(_libtorch_roots "")
set(_libtorch_environment "$ENV{CMAKE_PREFIX_PATH}")
string(REPLACE ":" ";" _libtorch_environment "${_libtorch_environment}")
foreach(_prefix IN LISTS CMAKE_PREFIX_PATH Torch_DIR _libtorch_environment)
  list(APPEND _libtorch_roots "${_prefix}" "${_prefix}/../.." "${_prefix}/../../..")
endforeach()

find_path(LibTorch_API_INCLUDE_DIR torch/torch.h
  HINTS ${_libtorch_roots} PATH_SUFFIXES include/torch/csrc/api/include)
get_filename_component(_libtorch_root "${LibTorch_API_INCLUDE_DIR}/../../../../.." ABSOLUTE)
set(LibTorch_ROOT_DIR "${_libtorch_root}")
foreach(_lib IN ITEMS torch torch_cpu c10 torch_cuda c10_cuda)
  find_library(LibTorch_${_lib}_LIBRARY ${_lib} HINTS "${_libtorch_root}/lib" NO_DEFAULT_PATH)
endforeach()

# The version header moved between releases.
foreach(_header IN ITEMS torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
  if(NOT LibTorch_VERSION AND EXISTS "${_libtorch_root}/include/${_header}")
    foreach(_part IN ITEMS MAJOR MINOR PATCH)
      file(STRINGS "${_libtorch_root}/include/${_header}" _line REGEX "define TORCH_VERSION_${_part} ")
      string(REGEX MATCH "[0-9]+$" _${_part} "${_line}")
    endforeach()
    set(LibTorch_VERSION "${_MAJOR}.${_MINOR}.${_PATCH}")
  endif()
endforeach()

if(EXISTS "${_libtorch_root}/share/cmake/Torch/TorchConfig.cmake")
  file(STRINGS "${_libtorch_root}/share/cmake/Torch/TorchConfig.cmake" _abi REGEX "_GLIBCXX_USE_CXX11_ABI=0")
  if(_abi)
    message(FATAL_ERROR "This LibTorch (${_libtorch_root}) was built with the pre-C++11 ABI "
      "(_GLIBCXX_USE_CXX11_ABI=0), which the system's C++ libraries do not share. Use a cxx11-abi build: "
      "PyPI's torch 2.7 or newer, or the cxx11-abi archive of 2.6.")
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_torch_cpu_LIBRARY LibTorch_c10_LIBRARY LibTorch_API_INCLUDE_DIR
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "Set CMAKE_PREFIX_PATH to a LibTorch folder, or run 'make build', which installs one into the build folder.")

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  target_include_directories(LibTorch::LibTorch SYSTEM INTERFACE
    "${_libtorch_root}/include" "${LibTorch_API_INCLUDE_DIR}")
  set(_libtorch_libraries "${LibTorch_torch_cpu_LIBRARY}" "${LibTorch_c10_LIBRARY}")
  if(LibTorch_torch_cuda_LIBRARY)
    # The CUDA libraries register their kernels when loaded; nothing here names one of their symbols.
    list(APPEND _libtorch_libraries -Wl,--no-as-needed "${LibTorch_torch_LIBRARY}"
      "${LibTorch_torch_cuda_LIBRARY}" "${LibTorch_c10_cuda_LIBRARY}" -Wl,--as-needed)
  endif()
  target_link_libraries(LibTorch::LibTorch INTERFACE ${_libtorch_libraries})
  target_compile_features(LibTorch::LibTorch INTERFACE cxx_std_20)
  message(STATUS "LibTorch ${LibTorch_VERSION}: ${_libtorch_root}")
endif()
