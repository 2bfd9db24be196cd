#include "cancel_request.hpp"

#include <array>
#include <pthread.h>

namespace haul::core {

cancel_request::cancel_request(const session& what, event& wake)
    : thread_{[this, &wake, handle = what.cancel_handle()] {
          pthread_setname_np(pthread_self(), "haul-cancel");
          std::array<char, 256> reason;
          PQcancel(handle.get(), reason.data(), static_cast<int>(reason.size()));
          delivered_ = true;
          wake.set();
      }} {}

cancel_request::~cancel_request() {
    thread_.join();
}

} // namespace haul::core
