# cmake -DDIST=DIRECTORY -DOUTPUT=FILE.cpp -P embed_page.cmake: writes the files below DIST as C++ that defines `page_files`
# of src/admin/page.hpp. index.html becomes "/".
cmake_minimum_required(VERSION 3.25)
file(GLOB_RECURSE files RELATIVE ${DIST} ${DIST}/*)
list(SORT files)
if(NOT "index.html" IN_LIST files)
  message(FATAL_ERROR "${DIST} has no index.html")
endif()

function(content_type_of file result)
  cmake_path(GET file EXTENSION LAST_ONLY extension)
  set(types .html "text/html" .js "text/javascript" .css "text/css" .svg "image/svg+xml")
  list(FIND types "${extension}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "${file}: add the content type of ${extension} to embed_page.cmake")
  endif()
  math(EXPR at "${at} + 1")
  list(GET types ${at} type)
  set(${result} "${type}" PARENT_SCOPE)
endfunction()

set(arrays "")
set(entries "")
set(number 0)
foreach(file IN LISTS files)
  file(READ ${DIST}/${file} bytes HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  file(SHA256 ${DIST}/${file} digest)
  string(SUBSTRING ${digest} 0 16 digest)
  content_type_of(${file} type)
  set(path "/${file}")
  if(file STREQUAL "index.html")
    set(path "/")
  endif()
  string(APPEND arrays "constexpr unsigned char file_${number}[] = {\n${bytes}};\n")
  string(APPEND entries "    {\"${path}\", \"${type}; charset=utf-8\", \"\\\"${digest}\\\"\", file_${number}},\n")
  math(EXPR number "${number} + 1")
endforeach()

file(WRITE ${OUTPUT} "// Made from dashboard/ by cmake/embed_page.cmake.
#include \"admin/page.hpp\"

namespace barrel_p2p {
inline namespace v0 {
namespace admin {
namespace {

${arrays}
constexpr PageFile files[] = {
${entries}};

}  // namespace

std::span<const PageFile> page_files() noexcept { return files; }

}  // namespace admin
}  // namespace v0
}  // namespace barrel_p2p
")
