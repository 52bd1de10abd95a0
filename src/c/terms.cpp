// Terms for those who do not know terms: from text, bytes and integers, and back.
#include "c/support.hpp"

using namespace barrel_p2p;
using c::guarded;
using c::Output;

int barrel_p2p_term_from_text(const char* text, barrel_p2p_bytes* term) {
  return guarded([&] {
    const Output output(term, "term");
    output.give_term(c::value(parse_term(c::text_of(text, "text"))));
  });
}

int barrel_p2p_term_to_text(const void* term, size_t size, barrel_p2p_bytes* text) {
  return guarded([&] {
    const Output output(text, "text");
    output.give_text(to_text(c::term_of(term, size, "term")));
  });
}

int barrel_p2p_term_from_binary(const void* bytes, size_t size, barrel_p2p_bytes* term) {
  return guarded([&] {
    const Output output(term, "term");
    output.give_term(Term::binary(c::bytes_of(bytes, size, "bytes")));
  });
}

int barrel_p2p_term_to_binary(const void* term, size_t size, barrel_p2p_bytes* bytes) {
  return guarded([&] {
    const Output output(bytes, "bytes");
    const Term whole = c::term_of(term, size, "term");
    const auto content = whole.as_binary();
    if (!content) c::refuse(Errc::type_mismatch, "it is no binary");
    output.give_bytes(*content);
  });
}

int barrel_p2p_term_element(const void* term, size_t size, size_t index, barrel_p2p_bytes* element) {
  return guarded([&] {
    const Output output(element, "element");
    const Term whole = c::term_of(term, size, "term");
    if (!whole.is_tuple() && !whole.is_list()) c::refuse(Errc::type_mismatch, "it is neither a tuple nor a list");
    if (index >= whole.size()) c::refuse(Errc::not_found, "it has " + std::to_string(whole.size()) + " elements");
    output.give_term(whole.elements()[index]);
  });
}
