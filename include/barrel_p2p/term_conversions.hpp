// Conversions between terms and C++ types. Included by term.hpp.
#pragma once
