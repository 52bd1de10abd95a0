# The page of the node's endpoint, built by Vite from dashboard/ and compiled in. BARREL_P2P_DASHBOARD: AUTO builds it where
# npm is and its packages can be had, ON fails where they cannot, OFF leaves it out; the endpoint then has its JSON only.
set(dashboard_default OFF)
if(PROJECT_IS_TOP_LEVEL)
  set(dashboard_default AUTO)
endif()
set(BARREL_P2P_DASHBOARD ${dashboard_default} CACHE STRING "Build the page of the node's endpoint in: AUTO, ON or OFF")
set_property(CACHE BARREL_P2P_DASHBOARD PROPERTY STRINGS AUTO ON OFF)

# Node.js 18 is what Vite asks for, and what Debian 12 has.
set(BARREL_P2P_NODE_MINIMUM 18)
set(dashboard_source ${PROJECT_SOURCE_DIR}/dashboard)
set(dashboard_build ${PROJECT_BINARY_DIR}/dashboard)
set(dashboard_missing "")  # why there is no page

# Says in `dashboard_missing` what there is not. Sets BARREL_P2P_NODEJS and BARREL_P2P_NPM.
macro(dashboard_find_tools)
  find_program(BARREL_P2P_NODEJS NAMES node nodejs)
  find_program(BARREL_P2P_NPM npm)
  mark_as_advanced(BARREL_P2P_NODEJS BARREL_P2P_NPM)
  if(NOT BARREL_P2P_NODEJS OR NOT BARREL_P2P_NPM)
    set(dashboard_missing "node and npm are not installed")
  else()
    execute_process(COMMAND ${BARREL_P2P_NODEJS} --version OUTPUT_VARIABLE dashboard_node_version OUTPUT_STRIP_TRAILING_WHITESPACE)
    string(REGEX REPLACE "^v" "" dashboard_node_version "${dashboard_node_version}")
    if(dashboard_node_version VERSION_LESS BARREL_P2P_NODE_MINIMUM)
      set(dashboard_missing "node ${dashboard_node_version} is older than ${BARREL_P2P_NODE_MINIMUM}")
    endif()
  endif()
endmacro()

# The packages of package-lock.json, below the build directory: once, and again when the list changes.
macro(dashboard_install_packages)
  file(SHA256 ${dashboard_source}/package-lock.json dashboard_wanted)
  set(dashboard_stamp ${dashboard_build}/packages.sha256)
  set(dashboard_installed "")
  if(EXISTS ${dashboard_stamp})
    file(READ ${dashboard_stamp} dashboard_installed)
  endif()
  if(NOT dashboard_installed STREQUAL dashboard_wanted)
    file(COPY ${dashboard_source}/package.json ${dashboard_source}/package-lock.json ${dashboard_source}/.npmrc DESTINATION ${dashboard_build})
    execute_process(COMMAND ${BARREL_P2P_NPM} ci --prefer-offline WORKING_DIRECTORY ${dashboard_build} TIMEOUT 300
                    OUTPUT_FILE ${dashboard_build}/npm.log ERROR_FILE ${dashboard_build}/npm.log RESULT_VARIABLE dashboard_result)
    if(dashboard_result EQUAL 0)
      file(WRITE ${dashboard_stamp} ${dashboard_wanted})
    else()
      set(dashboard_missing "npm ci failed, see ${dashboard_build}/npm.log")
    endif()
  endif()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${dashboard_source}/package-lock.json)
endmacro()

if(BARREL_P2P_DASHBOARD)
  dashboard_find_tools()
  if(NOT dashboard_missing)
    dashboard_install_packages()
  endif()
  if(dashboard_missing AND NOT BARREL_P2P_DASHBOARD STREQUAL "AUTO")
    message(FATAL_ERROR "BARREL_P2P_DASHBOARD is ${BARREL_P2P_DASHBOARD}, but ${dashboard_missing}")
  elseif(dashboard_missing)
    message(STATUS "Built without the page: ${dashboard_missing}")
  endif()
else()
  set(dashboard_missing "BARREL_P2P_DASHBOARD is OFF")
endif()

# Defines `page_files` of src/admin/page.hpp, in place of no_page.cpp.
if(NOT dashboard_missing)
  set(dashboard_cpp ${dashboard_build}/page_files.cpp)
  file(GLOB_RECURSE dashboard_sources CONFIGURE_DEPENDS ${dashboard_source}/src/* ${dashboard_source}/test/*)
  # Vite and its kin look for packages beside the sources, so these are copied to the packages.
  add_custom_command(OUTPUT ${dashboard_cpp}
    COMMAND ${CMAKE_COMMAND} -E rm -rf src test dist
    COMMAND ${CMAKE_COMMAND} -E copy_directory ${dashboard_source}/src src
    COMMAND ${CMAKE_COMMAND} -E copy_directory ${dashboard_source}/test test
    COMMAND ${CMAKE_COMMAND} -E copy ${dashboard_source}/index.html ${dashboard_source}/vite.config.ts ${dashboard_source}/tsconfig.json
            ${dashboard_source}/package.json .
    COMMAND ${BARREL_P2P_NODEJS} node_modules/vite/bin/vite.js build --logLevel warn
    COMMAND ${CMAKE_COMMAND} -DDIST=${dashboard_build}/dist -DOUTPUT=${dashboard_cpp} -P ${CMAKE_CURRENT_LIST_DIR}/embed_page.cmake
    DEPENDS ${dashboard_sources} ${dashboard_source}/index.html ${dashboard_source}/vite.config.ts ${dashboard_source}/tsconfig.json
            ${dashboard_source}/package.json ${dashboard_build}/packages.sha256 ${CMAKE_CURRENT_LIST_DIR}/embed_page.cmake
    WORKING_DIRECTORY ${dashboard_build} COMMENT "Building the page" VERBATIM)
  # Its names are those of a file that is alone.
  set_source_files_properties(${dashboard_cpp} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  add_custom_target(dashboard_page ALL DEPENDS ${dashboard_cpp})
endif()

# dashboard_into(TARGET): compiles the page into the target, which has no_page.cpp, if there is a page.
function(dashboard_into target)
  if(NOT dashboard_missing)
    get_target_property(sources ${target} SOURCES)
    list(FILTER sources EXCLUDE REGEX "/no_page\\.cpp$")
    set_property(TARGET ${target} PROPERTY SOURCES ${sources} ${dashboard_cpp})
    add_dependencies(${target} dashboard_page)
  endif()
endfunction()
