"""conan create packaging/conan: the library as a Conan 2 package, built from this tree.

What is below it comes from the system's packages (Debian 12 and 13): ngtcp2 with its GnuTLS helper is not in Conan Center, and two
copies of GnuTLS in one program would be one too many.
"""
import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load
from conan.tools.system.package_manager import Apt


class BarrelP2pConan(ConanFile):
    name = "barrel_p2p"
    description = "A secure peer-to-peer cluster for C++ and Erlang programs"
    license = "Apache-2.0"
    topics = ("cluster", "distributed", "p2p", "quic", "erlang", "gossip", "crdt")
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False]}
    default_options = {"shared": True}

    @property
    def _tree(self):
        return os.path.join(self.recipe_folder, os.pardir, os.pardir)

    def set_version(self):
        text = load(self, os.path.join(self._tree, "CMakeLists.txt"))
        self.version = re.search(r"project\(barrel_p2p VERSION (\S+)", text)[1]

    def export_sources(self):
        for pattern in ("CMakeLists.txt", "LICENSE", "README.md", "CHANGELOG.md", "cmake/*", "dashboard/*", "include/*", "sim/*", "src/*"):
            copy(self, pattern, self._tree, self.export_sources_folder, excludes=["*/node_modules/*"])
        # Its configuration is read where packages are made.
        copy(self, "packaging/debian/*", self._tree, self.export_sources_folder)

    def layout(self):
        cmake_layout(self)

    def validate(self):
        check_min_cppstd(self, 23)

    def system_requirements(self):
        apt = Apt(self)
        apt.install(
            ["libgnutls28-dev", "libngtcp2-crypto-gnutls-dev", "libngtcp2-dev", "libspdlog-dev", "libsqlite3-dev", "libtomlplusplus-dev",
             "libxxhash-dev", "pkg-config", "zlib1g-dev"],
            check=True,
        )
        apt.install_substitutes(["libboost1.81-dev"], ["libboost-dev"], check=True)

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["BARREL_P2P_SHARED"] = bool(self.options.shared)
        toolchain.cache_variables["BARREL_P2P_APPS"] = False
        toolchain.cache_variables["BARREL_P2P_TESTS"] = False
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))

    def package_info(self):
        # find_package(barrel_p2p) finds what the library installs itself, with the targets that building.md names.
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = [os.path.join("lib", "cmake", "barrel_p2p")]
        self.cpp_info.libs = ["barrel_p2p"]
        self.cpp_info.set_property("pkg_config_name", "barrel_p2p")
        if not self.options.shared:
            self.cpp_info.defines = ["BARREL_P2P_STATIC"]
            self.cpp_info.system_libs = ["ngtcp2", "ngtcp2_crypto_gnutls", "gnutls", "sqlite3", "xxhash", "spdlog", "fmt", "z", "pthread"]
