// How fast this core could multiply and add at most, for 'wutdet bench'.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>

#include "bench/peak.h"
#include "bindings.h"
#include "core/engine/dispatch.h"

namespace wutdet {

void bind_peak(nb::module_& module) {
  module.def(
      "_peak_macs",
      [](const std::string& kernels, bool real) {
        engine::kernels_named(kernels);  // throws where this processor has no such instructions
        nb::gil_scoped_release release;
        return bench::peak_macs(kernels, real);
      },
      nb::arg("kernels"), nb::arg("real"),
      "Multiply-adds per second of one core, measured in about 50 ms, with the instructions of these kernels: of bytes, "
      "or of float32. 0 where no loop is written for them.");
}

}  // namespace wutdet
