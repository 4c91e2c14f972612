// The job of docs/add-a-job.md in a program to which it was added.
#include "tests/jobs.h"
#include "tests/process.h"

namespace bilevel {
namespace {

class AddedJob : public ProgramTest {
 protected:
  Arguments data(const std::string& command) const {
    const std::string rows = folder_.write("rows.csv", rows_of_eight_classes());
    return {command, "--train", rows, "--features", "a,b", "--label", "class"};
  }
};

TEST_F(AddedJob, IsListedAndHasHelp) {
  EXPECT_CONTAINS(bilevel_program({"list", "jobs"}).out, "\n  ridge ");
  const Outcome help = bilevel_program({"ridge", "--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* part : {"--train", "--split", "--resume", "A first try: bilevel ridge --train rows.csv"})
    EXPECT_CONTAINS(help.out, part);
  EXPECT_CONTAINS(bilevel_program({"list", "options", "ridge"}).out, "split");
}

TEST_F(AddedJob, TrainsResumesAndPredicts) {
  const Json summary = succeeds(data("ridge") + Arguments{"--steps", "200", "--out", out()});
  EXPECT_GT(summary.at("metrics").at("test").at("accuracy"), 0.8);
  EXPECT_LT(summary.at("strength"), 1e-2) << "the classes are far apart: less than at the start";
  EXPECT_TRUE(std::filesystem::exists(out() + "/report.html"));
  EXPECT_EQ(succeeds({"ridge", "--resume", out()}), summary);
  const Json predicted =
      succeeds({"predict", "--model", out(), "--input", path("rows.csv"), "--out", path("p.tsv")});
  EXPECT_EQ(predicted.at("rows"), 160);
  EXPECT_GT(predicted.at("accuracy"), 0.8);
}

TEST_F(AddedJob, IsComparedAndChecked) {
  const Json compared = succeeds(
      Arguments{"compare"} + data("ridge") +
      Arguments{"--solvers", "adambo,soba", "--seeds", "1", "--steps", "20", "--out", path("compared")});
  EXPECT_EQ(compared.at("metric").at("key"), "test_loss");
  for (const Json& entry : compared.at("table")) EXPECT_EQ(entry.at("finished"), 1);
  const Outcome checked = bilevel_program(Arguments{"check"} + data("ridge") +
                                          Arguments{"--rows", "60", "--estimators", "cg", "--json"});
  EXPECT_EQ(checked.code, 0) << checked.out << checked.err;
  EXPECT_EQ(Json::parse(checked.out).at("problem"), "ridge");
}

}  // namespace
}  // namespace bilevel
