// The same simulations in straightforward C++ with the standard library.
// baseline independent|round|token REQUESTS ROUNDS DEPTH: CPU seconds, then tokens and noise by request.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>
#include <vector>

enum class Model { independent, round, token };
struct Request {
  long tokens;
  double factors;
};

constexpr double rates[3] = {0.80, 0.74, 0.67};
constexpr double accept[2][3] = {{0.90, 0.85, 0.80}, {0.50, 0.40, 0.30}};
constexpr double leave[2] = {0.05, 0.05};

std::mt19937_64 generator(1);
std::uniform_real_distribution<double> uniform(0, 1);

template <Model model, int depth>
int play_round(int& state) {
  int accepted = 0;
  for (;;) {
    bool good = false;
    if (accepted < depth)
      good = uniform(generator) <
             (model == Model::independent ? rates[accepted] : accept[state][accepted]);
    if (model == Model::token && uniform(generator) < leave[state]) state = 1 - state;
    if (!good) break;
    ++accepted;
  }
  if (model == Model::round && uniform(generator) < leave[state]) state = 1 - state;
  return accepted + 1;
}

template <Model model, int depth>
std::vector<Request> play(long requests, long rounds) {
  const double sigma = std::sqrt(std::log1p(0.01));
  std::lognormal_distribution<double> noise(-sigma * sigma / 2, sigma);
  std::vector<Request> played(requests);
  for (Request& request : played) {
    int state = model == Model::independent ? 0 : uniform(generator) < 0.5;
    request = {0, 0.0};
    for (long i = 0; i < rounds; ++i) {
      request.tokens += play_round<model, depth>(state);
      request.factors += noise(generator);
    }
  }
  return played;
}

template <int depth>
std::vector<Request> play(const std::string& model, long requests, long rounds) {
  return model == "independent" ? play<Model::independent, depth>(requests, rounds)
         : model == "round"     ? play<Model::round, depth>(requests, rounds)
                                : play<Model::token, depth>(requests, rounds);
}

int main(int, char** argv) {
  const std::string model = argv[1];
  const long requests = std::atol(argv[2]), rounds = std::atol(argv[3]);
  const int depth = std::atoi(argv[4]);
  const std::clock_t start = std::clock();
  const auto played = depth == 1   ? play<1>(model, requests, rounds)
                      : depth == 2 ? play<2>(model, requests, rounds)
                                   : play<3>(model, requests, rounds);
  std::printf("%.9g 0\n", double(std::clock() - start) / CLOCKS_PER_SEC);
  for (const Request& request : played) std::printf("%ld %.9g\n", request.tokens, request.factors);
}
