// Version of the library, and the macros that the public headers share.
#pragma once

#define BARREL_P2P_VERSION_MAJOR 0
#define BARREL_P2P_VERSION_MINOR 1
#define BARREL_P2P_VERSION_PATCH 0
#define BARREL_P2P_VERSION "0.1.0"

/// Marks what the shared library exports; everything else has hidden visibility.
#if defined(BARREL_P2P_STATIC)
#define BARREL_P2P_API
#else
#define BARREL_P2P_API __attribute__((visibility("default")))
#endif

/// Every name lives in an inline namespace that carries the ABI version: two versions can be linked into one program.
namespace barrel_p2p {
inline namespace v0 {}
}  // namespace barrel_p2p
