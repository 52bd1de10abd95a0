# `cmake --install`: headers, library, CMake package, pkg-config file. The command is installed by apps/. Components, of
# which packages are made: `library`, `development`, `command`.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/barrel_p2p)

install(DIRECTORY include/barrel_p2p DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")
install(TARGETS barrel_p2p EXPORT barrel_p2p_targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT development
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
install(EXPORT barrel_p2p_targets NAMESPACE barrel_p2p:: DESTINATION ${package_dir} COMPONENT development)
if(TARGET barrel_p2p_static)
  # By itself: who links the shared library needs none of the libraries below.
  install(TARGETS barrel_p2p_static EXPORT barrel_p2p_static_targets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development)
  install(EXPORT barrel_p2p_static_targets NAMESPACE barrel_p2p:: DESTINATION ${package_dir} COMPONENT development)
endif()
set(barrel_p2p_static_installed OFF)
if(NOT BARREL_P2P_SHARED OR BARREL_P2P_BOTH)
  set(barrel_p2p_static_installed ON)
endif()

configure_package_config_file(cmake/barrel_p2p-config.cmake.in barrel_p2p-config.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(barrel_p2p-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/barrel_p2p-config.cmake ${PROJECT_BINARY_DIR}/barrel_p2p-config-version.cmake
  DESTINATION ${package_dir} COMPONENT development)

# A static library needs the libraries below it at the user's link; a shared one brings them itself.
set(pc_libs_private "")
if(BARREL_P2P_SHARED)
  set(pc_requires "")
  set(pc_cflags "")
  if(BARREL_P2P_BOTH)
    set(pc_libs_private "-lngtcp2 -lngtcp2_crypto_gnutls -lgnutls -lsqlite3 -lxxhash -lspdlog -lfmt -lz")
  endif()
else()
  set(pc_requires "gnutls libngtcp2 libngtcp2_crypto_gnutls libxxhash spdlog sqlite3 zlib")
  set(pc_cflags "-DBARREL_P2P_STATIC")
endif()
# The library directory may have two parts (lib/x86_64-linux-gnu).
file(RELATIVE_PATH pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
configure_file(cmake/barrel_p2p.pc.in barrel_p2p.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/barrel_p2p.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT development)
