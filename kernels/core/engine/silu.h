// x / (1 + exp(-x)) in float32 by a fixed sequence of operations, the same bits on every instruction set: relative error
// below 1e-6 for x > -87. exp(t) = 2^n * exp(r), n = t / ln 2 rounded by adding a large number, exp(r) = Horner's
// scheme with the Taylor coefficients to r^7 (|r| <= 0.35: truncation below 6e-9). Constants only: isa/ uses them too.
#pragma once

namespace wutdet::engine {

constexpr float kSiluLow = -87.0f, kSiluHigh = 87.0f;  // of t = -x; 2^n stays a normal number
constexpr float kSiluLog2E = 1.44269504088896340736f;
constexpr float kSiluRound = 12582912.0f;              // 1.5 * 2^23
constexpr float kSiluLn2High = 0.693359375f;           // n times this is exact
constexpr float kSiluLn2Low = -2.12194440e-4f;
constexpr float kSiluSeries[8] = {1.0f,        1.0f,         1.0f / 2,    1.0f / 6,
                                  1.0f / 24,   1.0f / 120,   1.0f / 720,  1.0f / 5040};

}  // namespace wutdet::engine
