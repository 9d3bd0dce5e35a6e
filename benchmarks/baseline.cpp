// The same simulation, round clock, in straightforward C++ with the standard library.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>

int main(int, char** argv) {
  const long requests = std::atol(argv[1]), rounds = std::atol(argv[2]);
  const double accept[2][3] = {{0.90, 0.85, 0.80}, {0.50, 0.40, 0.30}}, leave[2] = {0.05, 0.05};
  const double sigma = std::sqrt(std::log1p(0.01));
  std::mt19937_64 generator(1);
  std::uniform_real_distribution<double> uniform(0, 1);
  std::lognormal_distribution<double> noise(-sigma * sigma / 2, sigma);
  const auto start = std::chrono::steady_clock::now();
  long tokens = 0;
  double seconds = 0;
  for (long r = 0; r < requests; ++r) {
    int state = uniform(generator) < 0.5;
    for (long i = 0; i < rounds; ++i) {
      int accepted = 0;
      while (accepted < 3 && uniform(generator) < accept[state][accepted]) ++accepted;
      tokens += accepted + 1;
      seconds += noise(generator);
      if (uniform(generator) < leave[state]) state = 1 - state;
    }
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  std::printf("%.9g %.9g %.9g\n", taken.count(), double(tokens) / (requests * rounds), seconds);
}
