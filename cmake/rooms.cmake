# add_room(NAME LIBRARIES ...): a static library from src/NAME. Each room links the rooms that were added before it.
# BARREL_P2P_ROOMS: all room targets, the highest first. BARREL_P2P_ROOM_OBJECTS: what they were compiled to.
set(BARREL_P2P_ROOMS "" CACHE INTERNAL "")
set(BARREL_P2P_ROOM_OBJECTS "" CACHE INTERNAL "")

function(add_room name)
  cmake_parse_arguments(ARG "" "" "LIBRARIES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cpp)
  set(target barrel_p2p_${name})
  if(sources)
    add_library(${target} STATIC ${sources})
    set(scope PUBLIC)
    target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:barrel_p2p_warnings>)
    # Nobody replaces single functions of the library by others: calls inside of it are direct. Clang does so by itself.
    target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fno-semantic-interposition>)
    # What threads have of their own is found without a call. It is less than a kilobyte, so that dlopen has room for it.
    target_compile_options(${target} PRIVATE -ftls-model=initial-exec)
    set(BARREL_P2P_ROOM_OBJECTS ${BARREL_P2P_ROOM_OBJECTS} $<TARGET_OBJECTS:${target}> CACHE INTERNAL "")
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${target} ${scope} ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${target} ${scope} ${BARREL_P2P_ROOMS} ${ARG_LIBRARIES} Threads::Threads)
  set(BARREL_P2P_ROOMS ${target} ${BARREL_P2P_ROOMS} CACHE INTERNAL "")
endfunction()
