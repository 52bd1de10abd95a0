# `cpack -G DEB` in a build of the preset `deb`: three Debian packages, of the components of install.cmake. `make deb` does it.
# What only Debian wants (copyright, changelogs, unit, default configuration) is added by packaging/debian/finish.cmake.
set(CPACK_PACKAGE_NAME barrel-p2p)
set(CPACK_PACKAGE_VENDOR "barrel_p2p")
set(CPACK_PACKAGE_CONTACT "barrel_p2p maintainers <maintainers@barrel-p2p.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # Each package has its own.
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL library development command)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(debian ${PROJECT_SOURCE_DIR}/packaging/debian)
set(CPACK_PRE_BUILD_SCRIPTS ${debian}/finish.cmake)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS OFF)
set(version ${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE})

# The ABI version is part of the library's name: two of them can be installed.
set(library libbarrel-p2p${BARREL_P2P_ABI})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME ${library})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "peer-to-peer cluster of C++ and Erlang programs, library
A set of machines becomes one secure cluster, without a broker beside it:
QUIC between nodes that prove their keys, membership by gossip, services
found by name, replicated maps, leaders, placement and durable reminders.
It speaks the wire protocol of the Erlang library barrel_p2p.

This package has what programs need at run time.")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${debian}/triggers)

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libbarrel-p2p-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${library} (= ${version})")
# For the static library alone.
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SUGGESTS
  "libgnutls28-dev, libngtcp2-dev, libngtcp2-crypto-gnutls-dev, libspdlog-dev, libsqlite3-dev, libxxhash-dev, zlib1g-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "peer-to-peer cluster of C++ and Erlang programs, development files
A set of machines becomes one secure cluster, without a broker beside it:
QUIC between nodes that prove their keys, membership by gossip, services
found by name, replicated maps, leaders, placement and durable reminders.
It speaks the wire protocol of the Erlang library barrel_p2p.

This package has the headers, the library to link with, also as a static
one, the test kit, and what CMake and pkg-config need to find them. Programs
are compiled as C++23.")

set(CPACK_DEBIAN_COMMAND_PACKAGE_NAME barrel-p2p)
set(CPACK_DEBIAN_COMMAND_PACKAGE_SECTION net)
set(CPACK_DEBIAN_COMMAND_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_COMPONENT_COMMAND_DESCRIPTION "peer-to-peer cluster of C++ and Erlang programs, command and service
A set of machines becomes one secure cluster, without a broker beside it:
QUIC between nodes that prove their keys, membership by gossip, services
found by name, replicated maps, leaders, placement and durable reminders.
It speaks the wire protocol of the Erlang library barrel_p2p.

This package has the command, which runs a node, looks at nodes and operates
them, and a service of systemd, which is not enabled: a node needs a name and
the secret of its cluster first.")
set(CPACK_DEBIAN_COMMAND_PACKAGE_CONTROL_EXTRA ${debian}/conffiles ${debian}/postinst ${debian}/prerm ${debian}/postrm)

include(CPack)
