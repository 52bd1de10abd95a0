# The one library that users link: the objects of all rooms.
if(BARREL_P2P_SHARED)
  set(kind SHARED)
else()
  set(kind STATIC)
endif()
# The ABI version is in the SONAME, in the symbol version of exports.map, and in the inline namespace of version.hpp:
# `exported_symbols` compares them.
set(BARREL_P2P_ABI 0)

function(add_library_of_rooms target kind)
  add_library(${target} ${kind} ${BARREL_P2P_ROOM_OBJECTS})
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX VERSION ${PROJECT_VERSION} SOVERSION ${BARREL_P2P_ABI})
  target_compile_features(${target} INTERFACE cxx_std_23)
  target_include_directories(${target} INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${target} PRIVATE
    spdlog::spdlog ZLIB::ZLIB PkgConfig::GNUTLS PkgConfig::NGTCP2 PkgConfig::SQLITE3 PkgConfig::XXHASH Threads::Threads)
  if(kind STREQUAL "STATIC")
    target_compile_definitions(${target} INTERFACE BARREL_P2P_STATIC)
  endif()
endfunction()

add_library_of_rooms(barrel_p2p ${kind})
add_library(barrel_p2p::barrel_p2p ALIAS barrel_p2p)
if(BARREL_P2P_SHARED)
  # Hidden visibility does not reach inline code of other libraries; the version script exports our own names only.
  set(exports ${PROJECT_SOURCE_DIR}/cmake/exports.map)
  target_link_options(barrel_p2p PRIVATE LINKER:--version-script=${exports} LINKER:-Bsymbolic-functions)
  if(NOT BARREL_P2P_SANITIZE)
    target_link_options(barrel_p2p PRIVATE LINKER:--no-undefined)
  endif()
  set_property(TARGET barrel_p2p APPEND PROPERTY LINK_DEPENDS ${exports})
endif()
if(BARREL_P2P_SHARED AND BARREL_P2P_BOTH)
  add_library_of_rooms(barrel_p2p_static STATIC)
  add_library(barrel_p2p::barrel_p2p_static ALIAS barrel_p2p_static)
  set_target_properties(barrel_p2p_static PROPERTIES OUTPUT_NAME barrel_p2p)
endif()
