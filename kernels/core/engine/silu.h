// Exponentials in float32 by fixed sequences of operations, the same bits on every instruction set. Constants only: isa/
// uses them too. A float x is split into a whole number n and a rest by adding a large number and taking it off again;
// n then goes into the exponent.
//
// SiLU, x / (1 + exp(-x)): exp(-x) = 2^(n + f), n + f = -x / ln 2 with f = fma(x, -1 / ln 2, -n), and for 2^f, |f| <= 1/2,
// the polynomial of degree 5 with 2^0 = 1 whose largest relative error is smallest (9.1e-8; fitted by Lawson's
// algorithm). Relative error below 1e-6 for |x| <= 20, below 2e-6 down to -87.
//
// Elsewhere, exp(t) = 2^n * exp(r), n = t / ln 2, exp(r) = Horner's scheme with the Taylor coefficients to r^7
// (|r| <= 0.35: truncation below 6e-9).
#pragma once

namespace wutdet::engine {

constexpr float kSiluLow = -87.0f, kSiluHigh = 87.0f;  // 2^n stays a normal number
constexpr float kSiluRound = 12582912.0f;              // 1.5 * 2^23
constexpr float kSiluMinusLog2E = -1.44269504088896340736f;
constexpr float kSiluPowers[6] = {1.0f,
                                  0.6931470036506653f,
                                  0.24022242426872253f,
                                  0.05550733581185341f,
                                  0.009671512991189957f,
                                  0.001326472731307149f};

// Before rounding to bytes, x * sigmoid(x) with c = max(x, -7) for x (-7 where x is NaN) and for the sigmoid a cubic in
// d, |d| <= 1/2: u = min(c, kSiluByteHigh) + 6.5, n = u rounded, d = u - n; coefficients of d^0 to d^3 by n, 0..15 (each
// segment's smallest largest error, 3.3e-5; Lawson's algorithm). Off by at most 5e-5 between -7 and 9, by 1.3e-4 of x
// above, by 0.0064 below.
constexpr float kSiluByteLow = -7.0f, kSiluByteHigh = 8.999f, kSiluByteShift = 6.5f;
constexpr float kSigmoidCubics[4][16] = {
    {0.0015007001f, 0.0040688827f, 0.0109839225f, 0.029306537f, 0.07585555f, 0.1824497f, 0.3775731f, 0.6224269f,
      0.8175503f, 0.92414445f, 0.97069347f, 0.98901606f, 0.9959311f, 0.9984993f, 0.9994474f, 0.9997966f},
    {0.0014985527f, 0.004052637f, 0.010864287f, 0.02845131f, 0.0701129f, 0.14917664f, 0.2349694f, 0.2349694f,
      0.14917664f, 0.0701129f, 0.02845131f, 0.010864287f, 0.004052637f, 0.0014985527f, 5.523303e-04f, 2.0333244e-04f},
    {7.626105e-04f, 0.0020503756f, 0.005410312f, 0.013575227f, 0.029823978f, 0.046587754f, 0.027721275f,
      -0.027721275f, -0.046587754f, -0.029823978f, -0.013575227f, -0.005410312f, -0.0020503756f, -7.626105e-04f,
      -2.8168457e-04f, -1.0378018e-04f},
    {2.5207706e-04f, 6.70363e-04f, 0.0017162884f, 0.003953408f, 0.0066565927f, 0.0022474574f, -0.015643332f,
      -0.015643332f, 0.0022474574f, 0.0066565927f, 0.003953408f, 0.0017162884f, 6.70363e-04f, 2.5207706e-04f,
      9.3483184e-05f, 3.4492423e-05f},
};

constexpr float kExpLog2E = 1.44269504088896340736f;
constexpr float kExpLn2High = 0.693359375f;  // n times this is exact
constexpr float kExpLn2Low = -2.12194440e-4f;
constexpr float kExpSeries[8] = {1.0f,        1.0f,         1.0f / 2,    1.0f / 6,
                                 1.0f / 24,   1.0f / 120,   1.0f / 720,  1.0f / 5040};

}  // namespace wutdet::engine
