// `bilevel check`, run as a person runs it.
#include <gtest/gtest.h>

#include <random>

#include "bilevel/task/known_problem.h"
#include "tests/process.h"

namespace bilevel {
namespace {

Outcome check(const Arguments& arguments) { return bilevel_program(Arguments{"check"} + arguments); }

/// The object of `--json` of a check that must find nothing wrong.
Json checked(Arguments arguments) {
  arguments.push_back("--json");
  const Outcome run = check(arguments);
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_EQ(run.err, "");
  return Json::parse(run.out);
}

void refused(const Arguments& arguments, const std::vector<std::string>& parts) {
  const Outcome run = check(arguments);
  EXPECT_EQ(run.code, 2) << run.err;
  EXPECT_EQ(run.out, "");
  for (const std::string& part : parts) EXPECT_CONTAINS(run.err, part);
}

TEST(CheckCommand, FindsNothingWrongInTheKnownProblems) {
  for (const KnownProblemEntry& entry : known_problem_registry()) {
    SCOPED_TRACE(entry.name);
    const Json found = checked({entry.name, "--rows", "60", "--max-products", "300"});
    EXPECT_EQ(found.at("problem"), entry.name);
    EXPECT_EQ(found.at("ok"), true);
    EXPECT_EQ(found.at("dtype"), "float64");
    EXPECT_EQ(found.at("lower_level").at("solved"), true);
    EXPECT_GE(found.at("estimators").size(), 9u);
  }
}

TEST(CheckCommand, TakesTheProblemsOwnOptionsInBothSpellings) {
  const Json found =
      checked({"quadratic", "--lower-size", "3", "--lower_curvature_min", "0.5", "--seed", "4"});
  EXPECT_EQ(found.at("lower_size"), 3);
  EXPECT_NEAR(found.at("lower_level").at("smallest_curvature").get<double>(), 0.5, 1e-6);
  EXPECT_EQ(found.at("problem_options").at("lower_size"), 3);
  EXPECT_EQ(found.at("seed"), 4);
  EXPECT_EQ(checked({"p1", "--dim", "2", "--a", "-1.5"}).at("upper_size"), 2);
}

TEST(CheckCommand, PrintsATableForPeople) {
  const Outcome run = check({"quadratic", "--estimators", "cg,unrolled"});
  EXPECT_EQ(run.code, 0) << run.err;
  for (const char* part : {"quadratic\n", "upper parameter 'x'", "unrolled", "result: ok"})
    EXPECT_CONTAINS(run.out, part);
  EXPECT_EQ(run.out.find("value-function"), std::string::npos) << "was not asked for";
}

TEST(CheckCommand, ExitsWithThreeWhenSomethingIsWrong) {
  TemporaryFolder folder;  // a loss that overflows
  const std::string train =
      folder.write("train.libsvm", "1 1:1e308 2:1e308\n-1 1:-1e308 2:1e308\n1 1:1 2:2\n-1 1:2\n");
  const Outcome run = check({"logistic", "--train", train, "--valid", train});
  EXPECT_EQ(run.code, 3) << run.out;
  EXPECT_CONTAINS(run.out, "WRONG: the lower level met a number that is not finite");
  EXPECT_CONTAINS(run.out, " wrong");
}

TEST(CheckCommand, AnIllConditionedProblemIsNoFault) {
  // A condition of 1e4 and of 1e9: what rounding leaves is no mistake of an estimator.
  for (const char* curvature : {"1e-4", "1e-9"}) {
    const Json found =
        checked({"quadratic", "--lower-curvature-min", curvature, "--max-products", "100", "--seed", "3"});
    EXPECT_EQ(found.at("ok"), true);
    for (const Json& e : found.at("estimators")) {
      if (e.at("name") != "exact" && e.at("name") != "cg") continue;
      EXPECT_EQ(e.at("verdict"), "ok") << e.dump(2);
      EXPECT_EQ(e.at("message").get<std::string>().find("not converged"), std::string::npos);
    }
  }
}

TEST(CheckCommand, TellsADirectionAgainstTheOptimisticOne) {
  const Outcome run = check({"many-minimizers", "--max-products", "200"});
  EXPECT_EQ(run.code, 0) << run.out;
  EXPECT_CONTAINS(run.out, "warning: against the optimistic hypergradient");
}

TEST(CheckCommand, RefusesWhatMakesNoSense) {
  refused({}, {"which problem?"});
  refused({"quadratics"}, {"quadratics", "quadratic", "p1"});
  refused({"p1", "--lower-size", "3"}, {"lower_size", "dim"});
  refused({"quadratic", "--lower-size", "0"}, {"lower_size", ">= 1"});
  refused({"quadratic", "--tolerance", "-1"}, {"tolerance"});
  refused({"quadratic", "--estimators", "magic"}, {"magic", "value-function"});
  refused({"auc"}, {"--train"});
}

TEST(CheckCommand, ChecksTheAucTask) {
  TemporaryFolder folder;
  std::string csv = "a,b,class\n";
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  for (int row = 0; row < 300; ++row) {
    const bool positive = row % 5 == 0;
    csv += std::to_string(normal(random) + positive) + "," + std::to_string(normal(random)) + "," +
           (positive ? "yes" : "no") + "\n";
  }
  const std::string train = folder.write("train.csv", csv);
  const Outcome run = check({"auc", "--train", train, "--label", "class", "--positive", "yes", "--encoder",
                             "mlp", "--hidden", "8", "--rows", "100", "--json"});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  const Json found = Json::parse(run.out);
  EXPECT_EQ(found.at("dtype"), "float32");
  EXPECT_EQ(found.at("rows").at("lower"), 100);
  EXPECT_EQ(found.at("lower_size"), 1);
  // 2 rho (1 - rho) with a fifth of positives.
  EXPECT_NEAR(found.at("lower_level").at("largest_curvature").get<double>(), 0.32, 1e-3);
  EXPECT_TRUE(found.at("without_influence").empty());
  EXPECT_GT(found.at("estimators")[0].at("parameters").size(), 4u);
}

TEST(CheckCommand, ChecksTheOtherJobs) {
  TemporaryFolder folder;
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  const auto file_of = [&](const char* name, int rows) {
    std::string csv = "a,b,class\n";
    for (int row = 0; row < rows; ++row) {
      const int shift = row % 3;
      csv += std::to_string(normal(random) + shift) + "," + std::to_string(normal(random)) + ",c" +
             std::to_string(shift) + "\n";
    }
    return folder.write(name, csv);
  };
  const std::string train = file_of("train.csv", 120);
  const Arguments cases[] = {{"clean", "--train", train, "--trusted", file_of("trusted.csv", 30)},
                             {"tune", "--train", train, "--tune", "l2"},
                             {"meta", "--data", train, "--valid", train, "--test", train, "--shots", "2",
                              "--queries", "2", "--episodes", "40", "--hidden", "4"}};
  for (Arguments arguments : cases) {
    SCOPED_TRACE(arguments.front());
    const std::string job = arguments.front();
    arguments.insert(arguments.end(), {"--label", "class", "--rows", "40", "--estimators", "cg", "--json"});
    const Outcome run = check(arguments);
    EXPECT_EQ(run.code, 0) << run.out << run.err;
    const Json found = Json::parse(run.out);
    EXPECT_EQ(found.at("problem"), job);
    EXPECT_EQ(found.at("problem_options").at("label"), "class");
    EXPECT_FALSE(found.at("problem_options").at("encoder").is_null());
  }
}

}  // namespace
}  // namespace bilevel
