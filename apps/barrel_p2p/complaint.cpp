#include "complaint.hpp"

#include <ostream>

#include "json.hpp"

namespace barrel_p2p::command {

int Complaints::tell(int status, const std::string& text) const {
  if (json) {
    errors << JsonObject().set("command", command).set("status", status).set("error", text).text() << '\n';
  } else {
    errors << "barrel_p2p" << (command.empty() ? "" : " ") << command << ": " << text << '\n';
  }
  return status;
}

}  // namespace barrel_p2p::command
