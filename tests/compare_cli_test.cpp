// `bilevel compare`, run as a person runs it.
#include <signal.h>

#include <random>

#include "tests/process.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
/// The table without clock readings.
Json table_of(const Json& summary) {
  Json table = summary.at("table");
  for (Json& entry : table) entry.erase("seconds");
  return table;
}

class CompareCliTest : public ProgramTest {
 protected:
  static Json compared(const Arguments& arguments) { return succeeds(Arguments{"compare"} + arguments); }
  void refused(const Arguments& arguments, const std::string& message) const {
    refuses(Arguments{"compare"} + arguments, {message});
  }

  /// A file with two informative columns and a text.
  std::string data_file(const std::string& name = "rows.csv", unsigned seed = 3) const {
    std::mt19937 random(seed);
    const auto uniform = [&] { return static_cast<double>(random()) / 4294967296.0; };
    std::ostringstream table;
    table << "class,text,a,b\n";
    for (int i = 0; i < 200; ++i) {
      const bool positive = uniform() < 0.3;
      const char* word = uniform() < 0.5 ? (positive ? "prize" : "lunch") : "the";
      table << (positive ? "spam," : "ham,") << word << (uniform() < 0.5 ? " today n" : " home n") << i << ","
            << uniform() + (positive ? 0.4 : 0) << "," << uniform() << "\n";
    }
    return folder_.write(name, table.str());
  }
};

const Arguments kTwo{"--solvers", "adambo,slow=adambo", "--set", "slow.upper_step_size=0.0001"};

TEST_F(CompareCliTest, HelpNamesEverything) {
  const Outcome help = bilevel_program({"compare", "--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* word :
       {"--solvers",      "--set",         "--tune",    "--seeds", "--seed", "--steps",      "--samples",
        "--oracle-calls", "--max-seconds", "--noise",   "--start", "--out",  "--resume",     "--replot",
        "--json",         "--quiet",       "quadratic", "p1",      "auc",    "--lower-size", "--jobs"}) {
    EXPECT_CONTAINS(help.out, word);
  }
  const Outcome auc = bilevel_program({"compare", "auc", "--help"});
  EXPECT_EQ(auc.code, 0);
  for (const char* word : {"--train", "--text", "--encoder", "--batch-size", "--levels"})
    EXPECT_CONTAINS(auc.out, word);
  EXPECT_EQ(auc.out.find("--no-refit"), std::string::npos);
}

TEST_F(CompareCliTest, TableFilesAndReport) {
  const Arguments arguments =
      joined(joined({"compare", "quadratic"}, kTwo),
             {"--seeds", "3", "--steps", "200", "--noise", "0.1", "--jobs", "1", "--out", path("c")});
  const Outcome run = bilevel_program(arguments);
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_CONTAINS(run.err, "adambo, seed 0 (run 1 of 6): true hypergradient norm");
  EXPECT_CONTAINS(run.err, "6 runs: 2 solvers, 3 seeds each; a run has 200 steps");
  EXPECT_CONTAINS(run.err, "the first run took");
  EXPECT_CONTAINS(run.out, "true hypergradient norm, mean over the last tenth of a run");
  for (size_t begin = run.out.find("rank"), end = 0; begin < run.out.find("\n\n", run.out.find("rank"));
       begin = end + 1) {
    end = run.out.find('\n', begin);
    EXPECT_LE(end - begin, 80U) << "a row of the table fits into a terminal";
  }
  EXPECT_CONTAINS(run.out, "slow (adambo)");
  EXPECT_CONTAINS(run.out, "report: " + path("c") + "/report.html");
  for (const char* name : {"options.json", "summary.json", "table.tsv", "report.html", "steps.svg",
                           "samples.svg", "oracle_calls.svg", "seconds.svg", "distance_steps.svg",
                           "runs/adambo/seed-0/trace.jsonl", "runs/slow/seed-2/trace.jsonl"}) {
    EXPECT_TRUE(fs::exists(path("c") + "/" + name)) << name;
  }
  const Json summary = Json::parse(read_bytes(path("c/summary.json")));
  const Json& table = summary.at("table");
  ASSERT_EQ(table.size(), 2U);
  EXPECT_EQ(table[0].at("rank"), 1);
  EXPECT_EQ(table[1].at("rank"), 2);
  EXPECT_LE(table[0].at("mean").get<double>(), table[1].at("mean").get<double>());
  for (const Json& entry : table) {
    double sum = 0;
    for (int s = 0; s < 3; ++s) {
      const auto rows = trace_of(path("c/runs/") + entry.at("competitor").get<std::string>() + "/seed-" +
                                 std::to_string(s) + "/trace.jsonl");
      ASSERT_GT(rows.size(), 100U);
      EXPECT_EQ(rows[0].at("run").at("seed"), s);
      // Same start for all.
      EXPECT_EQ(rows[1].at("metrics"), trace_of(path("c/runs/adambo/seed-0/trace.jsonl"))[1].at("metrics"));
      const Json& row = rows[rows.size() - 2];
      EXPECT_EQ(row.at("step"), 200);
      for (const char* key : {"samples", "oracle_calls", "upper_loss", "hypergradient_norm", "metrics"})
        EXPECT_TRUE(row.contains(key)) << key;
      EXPECT_EQ(rows.back().at("result").at("gradient_norm"), entry.at("values")[static_cast<size_t>(s)]);
      sum += entry.at("values")[static_cast<size_t>(s)].get<double>();
    }
    EXPECT_NEAR(entry.at("mean").get<double>(), sum / 3, 1e-12);
    EXPECT_LT(entry.at("interval")[0].get<double>(), entry.at("mean").get<double>());
  }
  const std::string page = read_bytes(path("c/report.html"));
  for (const char* part : {"<!DOCTYPE html>", "data:image/svg+xml;base64,", "How to read this",
                           "slow (adambo)", "median of the seeds"}) {
    EXPECT_CONTAINS(page, part);
  }
  EXPECT_EQ(page.find("src=\"http"), std::string::npos);
  EXPECT_EQ(page.find("<script"), page.rfind("<script")) << "the page's own";

  refused(joined(joined({"quadratic"}, kTwo), {"--out", path("c")}),
          "holds another run; continue it with 'bilevel compare --resume");
  const Outcome auc = bilevel_program({"auc", "--resume", path("c")});
  EXPECT_EQ(auc.code, 2);
  EXPECT_CONTAINS(auc.err, "holds a run of 'bilevel compare', not of 'bilevel auc'");
}

TEST_F(CompareCliTest, JsonIsOneObjectAndRunsRepeat) {
  const Arguments arguments = joined(joined({"p1", "--dim", "3", "--start", "1,-1,2"}, kTwo),
                                     {"--seeds", "2", "--steps", "60", "--tune", "3"});
  const Json first = compared(joined(arguments, {"--out", path("a")}));
  const Json second = compared(joined(arguments, {"--out", path("b")}));
  EXPECT_EQ(table_of(first), table_of(second));
  EXPECT_EQ(first.at("command"), "compare");
  EXPECT_EQ(first.at("task"), "p1");
  EXPECT_EQ(first.at("out"), path("a"));
  EXPECT_EQ(first.at("tune"), 3);
  EXPECT_EQ(first.at("table")[0].at("tuning").at("trials").size(), 3U);
  // A competitor's trials do not depend on who else takes part.
  const Json alone = compared({"p1", "--dim", "3", "--start", "1,-1,2", "--solvers", "adambo", "--seeds", "2",
                               "--steps", "60", "--tune", "3", "--out", path("d")});
  for (const Json& entry : first.at("table")) {
    if (entry.at("competitor") == "adambo") {
      EXPECT_EQ(entry.at("tuning"), alone.at("table")[0].at("tuning"));
    }
  }
  EXPECT_EQ(Json::parse(read_bytes(path("a/summary.json"))), first);
}

TEST_F(CompareCliTest, ContinuesAfterAKill) {
  const Arguments arguments =
      joined(joined({"compare", "quadratic"}, kTwo),
             {"--seeds", "4", "--tune", "2", "--steps", "100", "--noise", "0.1", "--quiet"});
  const Outcome whole = bilevel_program(joined(arguments, {"--out", path("whole")}));
  ASSERT_EQ(whole.code, 0) << whole.err;
  {
    Process process(joined(arguments, {"--out", path("cut")}));
    EXPECT_TRUE(process.wait_until([&] { return fs::exists(path("cut/runs/slow/trial-1/trace.jsonl")); }));
    process.send(SIGKILL);
    EXPECT_EQ(process.wait().code, -SIGKILL);
  }
  EXPECT_FALSE(fs::exists(path("cut/summary.json")));
  // Half-written files of the killed process are not taken for a run.
  fs::create_directories(path("cut/runs/adambo/seed-3"));
  folder_.write("cut/runs/adambo/seed-3/.trace.jsonl.1.0.tmp", "{\"run\":");
  const auto kept = fs::last_write_time(path("cut/runs/adambo/trial-0/trace.jsonl"));

  const Outcome early = bilevel_program({"compare", "--resume", path("cut"), "--replot"});
  EXPECT_EQ(early.code, 2);
  EXPECT_CONTAINS(early.err, "is not complete");
  const Json resumed = compared({"--resume", path("cut")});
  EXPECT_EQ(fs::last_write_time(path("cut/runs/adambo/trial-0/trace.jsonl")), kept);
  EXPECT_EQ(table_of(resumed), table_of(Json::parse(read_bytes(path("whole/summary.json")))));
  for (const char* run : {"adambo/seed-3", "slow/seed-0", "slow/trial-1"}) {
    const std::string name = std::string("/runs/") + run + "/trace.jsonl";
    EXPECT_EQ(trace_of(path("cut") + name), trace_of(path("whole") + name)) << run;
  }
}

TEST_F(CompareCliTest, SeveralRunsAtATimeGiveTheSame) {
  const Arguments arguments = joined(
      joined({"compare", "quadratic"}, kTwo),
      {"--seeds", "3", "--tune", "4", "--steps", "60", "--noise", "0.1", "--set", "slow.epsilon=1e-4"});
  const Outcome one = bilevel_program(joined(arguments, {"--jobs", "1", "--out", path("one")}));
  const Outcome several = bilevel_program(joined(arguments, {"--jobs", "3", "--out", path("several")}));
  ASSERT_EQ(one.code, 0) << one.err;
  ASSERT_EQ(several.code, 0) << several.err;
  EXPECT_CONTAINS(one.err, "a run has 60 steps; one at a time");
  EXPECT_CONTAINS(several.err, "a run has 60 steps; 3 at a time");
  EXPECT_CONTAINS(several.err, "(run 14 of 14): true hypergradient norm");
  size_t traces = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path("one"))) {
    const std::string file = fs::relative(entry.path(), path("one"));
    const std::string other = path("several/" + file);
    SCOPED_TRACE(file);
    ASSERT_TRUE(fs::exists(other));
    if (entry.path().extension() == ".jsonl") {
      EXPECT_EQ(trace_of(entry.path()), trace_of(other));
      ++traces;
    }
    // Those that show no time, to the last byte.
    for (const char* name : {"steps.svg", "samples.svg", "oracle_calls.svg"}) {
      if (file == name) {
        EXPECT_EQ(read_bytes(entry.path()), read_bytes(other));
      }
    }
  }
  EXPECT_EQ(traces, 14U);
  const auto options = [&](const char* out) {
    Json read = Json::parse(read_bytes(path(out) + "/options.json"));
    EXPECT_CONTAINS(read.at("command_line").get<std::string>(), std::string(" --out ") + path(out));
    for (const char* key : {"command_line", "date"}) read.erase(key);
    return read;
  };
  EXPECT_EQ(options("one"), options("several"));
  Json first = Json::parse(read_bytes(path("one/summary.json")));
  Json second = Json::parse(read_bytes(path("several/summary.json")));
  EXPECT_EQ(table_of(first), table_of(second));
  EXPECT_EQ(without_clock(first, {"table"}), without_clock(second, {"table"}));
}

TEST_F(CompareCliTest, ForceReplacesAComparison) {
  const Arguments arguments = joined(joined({"compare", "quadratic"}, kTwo), {"--steps", "5", "--quiet"});
  ASSERT_EQ(bilevel_program(joined(arguments, {"--seeds", "2", "--out", path("c")})).code, 0);
  const auto again = [&](const Arguments& more) {
    return bilevel_program(joined(arguments, joined({"--seeds", "1", "--out", path("c")}, more)));
  };
  EXPECT_EQ(again({}).code, 2);
  EXPECT_EQ(again({"--force", "--set", "nonsense=1"}).code, 2);
  EXPECT_TRUE(fs::exists(path("c/runs/slow/seed-1"))) << "nothing is removed before all is checked";
  const Outcome replaced = again({"--force"});
  EXPECT_EQ(replaced.code, 0) << replaced.err;
  EXPECT_EQ(replaced.err, "");
  EXPECT_CONTAINS(replaced.out, "rank  solver");
  EXPECT_FALSE(fs::exists(path("c/runs/slow/seed-1")));
}

TEST_F(CompareCliTest, WorkersThatAreKilledOrInterrupted) {
  const Arguments arguments =
      joined(joined({"compare", "quadratic"}, kTwo), {"--seeds", "4", "--steps", "300", "--quiet"});
  ASSERT_EQ(bilevel_program(joined(arguments, {"--jobs", "1", "--out", path("whole")})).code, 0);
  const std::string last = path("c/runs/slow/seed-3/trace.jsonl");

  Process killed(joined(arguments, {"--jobs", "2", "--out", path("c")}));
  ASSERT_TRUE(killed.wait_until([&] { return fs::exists(path("c/runs/adambo/seed-0/trace.jsonl")); }));
  const std::vector<pid_t> workers = killed.children();
  ASSERT_EQ(workers.size(), 2U);
  ::kill(workers[0], SIGKILL);
  const Outcome failed = killed.wait();
  EXPECT_EQ(failed.code, 4);
  EXPECT_CONTAINS(failed.err, ", seed ");
  EXPECT_CONTAINS(failed.err, ": its process was ended by signal 9");
  EXPECT_CONTAINS(failed.err, "continue with: bilevel compare --resume " + path("c"));
  EXPECT_FALSE(fs::exists(last));
  const auto kept = fs::last_write_time(path("c/runs/adambo/seed-0/trace.jsonl"));

  Process stopped({"compare", "--resume", path("c"), "--jobs", "2", "--quiet"});
  ASSERT_TRUE(stopped.wait_until([&] { return fs::exists(path("c/runs/slow/seed-1/trace.jsonl")); }));
  const std::vector<pid_t> others = stopped.children();
  EXPECT_EQ(others.size(), 2U);
  stopped.send(SIGINT);
  const Outcome interrupted = stopped.wait();
  EXPECT_EQ(interrupted.code, 130);
  EXPECT_CONTAINS(interrupted.err, "continue with: bilevel compare --resume " + path("c"));
  for (const pid_t worker : others) EXPECT_NE(::kill(worker, 0), 0) << "it ended with the program";
  EXPECT_FALSE(fs::exists(last));

  const Json resumed = compared({"--resume", path("c"), "--jobs", "2"});
  EXPECT_EQ(table_of(resumed), table_of(Json::parse(read_bytes(path("whole/summary.json")))));
  EXPECT_EQ(fs::last_write_time(path("c/runs/adambo/seed-0/trace.jsonl")), kept);
  EXPECT_EQ(trace_of(last), trace_of(path("whole/runs/slow/seed-3/trace.jsonl")));
}

TEST_F(CompareCliTest, InterruptAndLock) {
  const Arguments arguments =
      joined(joined({"compare", "quadratic"}, kTwo),
             {"--seeds", "50", "--max-seconds", "0.5", "--quiet", "--out", path("c")});
  Process process(arguments);
  ASSERT_TRUE(process.wait_until([&] { return fs::exists(path("c/runs/adambo/seed-0/trace.jsonl")); }));
  const Outcome other = bilevel_program({"compare", "--resume", path("c")});
  EXPECT_EQ(other.code, 2);
  EXPECT_CONTAINS(other.err, "another process");
  process.send(SIGINT);
  const Outcome run = process.wait();
  EXPECT_EQ(run.code, 130);
  EXPECT_CONTAINS(run.err, "continue with: bilevel compare --resume " + path("c"));
  EXPECT_FALSE(fs::exists(path("c/summary.json")));
}

TEST_F(CompareCliTest, ReplotsFromTracesAlone) {
  const std::string data = data_file();
  const Json first =
      compared(joined({"auc", "--train", data, "--features", "a,b", "--label", "class", "--positive", "spam",
                       "--seeds", "2", "--steps", "20", "--out", path("c")},
                      kTwo));
  fs::remove(data);  // replotting reads no data
  const std::string page = read_bytes(path("c/report.html"));
  for (const char* name : {"report.html", "summary.json", "table.tsv", "steps.svg"})
    fs::remove(path("c/") + name);
  EXPECT_EQ(compared({"--resume", path("c"), "--replot"}), first);
  EXPECT_EQ(read_bytes(path("c/report.html")), page);
  EXPECT_TRUE(fs::exists(path("c/steps.svg")));
  // Continuing does, and notices.
  const Outcome resumed = bilevel_program({"compare", "--resume", path("c")});
  EXPECT_EQ(resumed.code, 2);
  EXPECT_CONTAINS(resumed.err, "there is no such file");
}

TEST_F(CompareCliTest, TheOtherJobs) {
  const std::string data = data_file();
  const std::pair<Arguments, std::string> cases[] = {
      {{"clean", "--train", data, "--trusted", data_file("trusted.csv", 4)}, "held_loss"},
      {{"tune", "--train", data, "--tune", "l2"}, "test_loss"},
      {{"meta", "--data", data, "--valid", data, "--test", data, "--shots", "2", "--queries", "2",
        "--episodes", "40", "--valid-episodes", "4", "--test-episodes", "4", "--hidden", "4"},
       "test_accuracy"}};
  for (const auto& [job, metric] : cases) {
    SCOPED_TRACE(job.front());
    const Arguments arguments =
        joined(joined({"--tune", "2"}, job),
               joined({"--features", "a,b", "--label", "class", "--seeds", "2", "--steps", "4"}, kTwo));
    const std::string out = path(job.front());
    const Json summary = compared(joined(arguments, {"--jobs", "2", "--out", out}));
    EXPECT_EQ(summary.at("metric").at("key"), metric);
    for (const Json& entry : summary.at("table")) EXPECT_EQ(entry.at("finished"), 2);
    const std::string run = out + "/runs/slow/seed-1/trace.jsonl";
    const auto rows = trace_of(run);
    fs::remove(run);
    EXPECT_EQ(table_of(compared({"--resume", out, "--jobs", "1"})), table_of(summary));
    EXPECT_EQ(trace_of(run), rows) << "the data are read and cut as before";
  }
}

TEST_F(CompareCliTest, AucWithTuning) {
  const std::string data = data_file();
  const Arguments arguments =
      joined({"auc", "--train", data, "--text", "text", "--label", "class", "--positive", "spam", "--seeds",
              "2", "--tune", "2", "--steps", "30", "--batch-size", "32"},
             kTwo);
  const Json summary = compared(joined(arguments, {"--jobs", "2", "--out", path("c")}));
  EXPECT_EQ(summary.at("metric").at("key"), "test_auc");
  EXPECT_EQ(summary.at("tuning_metric").at("key"), "valid_auc");
  for (const Json& entry : summary.at("table")) {
    EXPECT_EQ(entry.at("finished"), 2);
    EXPECT_GT(entry.at("mean").get<double>(), 0.5);
    EXPECT_LE(entry.at("mean").get<double>(), 1);
    const std::string folder = path("c/runs/") + entry.at("competitor").get<std::string>();
    const auto rows = trace_of(folder + "/seed-1/trace.jsonl");
    // The run's result is that of the step chosen on the validation rows.
    const Json& result = rows.back().at("result");
    bool found = false;
    for (size_t i = 1; i + 1 < rows.size(); ++i) {
      if (rows[i].at("step") != result.at("chosen_step")) continue;
      found = true;
      EXPECT_EQ(rows[i].at("metrics").at("test_auc"), result.at("test_auc"));
      EXPECT_EQ(rows[i].at("metrics").at("valid_auc"), result.at("valid_auc"));
    }
    EXPECT_TRUE(found);
    EXPECT_EQ(entry.at("values")[1], result.at("test_auc"));
    // Tuning looked at the validation rows.
    EXPECT_EQ(entry.at("tuning").at("trials")[1].at("score"),
              trace_of(folder + "/trial-1/trace.jsonl").back().at("result").at("valid_auc"));
    // Same start: both measured the same before step 1.
    EXPECT_EQ(rows[1].at("metrics"), trace_of(path("c/runs/slow/seed-1/trace.jsonl"))[1].at("metrics"));
  }
  EXPECT_EQ(table_of(compared(joined(arguments, {"--jobs", "1", "--out", path("d")}))), table_of(summary));
  const Json samples =
      compared(joined({"auc", "--train", data, "--features", "all", "--label", "class", "--positive", "spam",
                       "--seeds", "1", "--samples", "900", "--batch-size", "32", "--out", path("e")},
                      kTwo));
  for (const Json& entry : samples.at("table")) {
    EXPECT_LE(entry.at("samples").get<double>(), 900);
    EXPECT_GT(entry.at("samples").get<double>(), 900 - 96);
  }
}

TEST_F(CompareCliTest, DivergedRunsStayInTheTable) {
  const Json summary =
      compared({"p1", "--solvers", "adambo,wild=adambo", "--set", "wild.upper_step_size=1000", "--seeds", "2",
                "--steps", "50", "--out", path("c")});
  const Json& last = summary.at("table")[1];
  EXPECT_EQ(last.at("competitor"), "wild");
  EXPECT_EQ(last.at("rank"), 2);
  EXPECT_EQ(last.at("diverged"), 2);
  EXPECT_TRUE(last.at("mean").is_null());
  EXPECT_CONTAINS(read_bytes(path("c/report.html")), "2 diverged");
  // When nobody has a result, that is a numerical failure; the table is there all the same.
  const Outcome run =
      bilevel_program({"compare", "p1", "--solvers", "wild=adambo", "--set", "upper_step_size=1000",
                       "--seeds", "1", "--steps", "50", "--quiet", "--out", path("d")});
  EXPECT_EQ(run.code, 3);
  EXPECT_CONTAINS(run.err, "no run of any solver has finished");
  EXPECT_TRUE(fs::exists(path("d/report.html")));
}

TEST_F(CompareCliTest, WrongUsage) {
  const Arguments solvers{"--solvers", "adambo"};
  refused({}, "compare on what?");
  refused({"quadratic"}, "--solvers NAME,... is missing");
  refused({"quadratic", "--solvers", "nobody"}, "there is no solver 'nobody'");
  refused({"quadratic", "--solvers", ""}, "--solvers NAME,... is missing");
  refused({"quadratic", "--solvers", "adambo,adambo"}, "stands there twice");
  refused(joined({"nonsense"}, solvers), "there is no problem 'nonsense'");
  refused(joined({"quadratic", "--seeds", "0"}, solvers), "seeds = 0: must be >= 1");
  refused(joined({"quadratic", "--seeds", "x"}, solvers), "seeds = x: must be a number");
  refused(joined({"quadratic", "--tune", "-1"}, solvers), "tune = -1");
  refused(joined({"quadratic", "--steps", "0"}, solvers), "steps = 0: must be >= 1");
  refused(joined({"quadratic", "--jobs", "0"}, solvers), "jobs = 0: must be >= 1");
  refused(joined({"quadratic", "--jobs", "1001"}, solvers), "jobs = 1001: must be <= 1000");
  refused(joined({"quadratic", "--max-seconds", "-3"}, solvers), "max_seconds = -3: must be > 0");
  refused(joined({"quadratic", "--noise", "-1"}, solvers), "noise = -1: must be >= 0");
  refused(joined({"quadratic", "--lower-size", "0"}, solvers), "lower_size = 0");
  refused(joined({"quadratic", "--dim", "3"}, solvers), "there is no option 'dim'");
  refused(joined({"quadratic", "--set", "nonsense=1"}, solvers), "no option 'nonsense'");
  refused(joined({"quadratic", "--set", "other.epsilon=1"}, solvers), "no competitor 'other'");
  refused(joined({"quadratic", "--start", "1,2"}, solvers), "2 values");
  refused(joined({"quadratic", "--replot"}, solvers), "--resume DIR");
  refused({"--resume", path("none")}, "there is no run to resume");
  refused({"--resume", path("none"), "--seeds", "3"}, "--seeds cannot be changed");
  refused({"quadratic", "--resume", path("none")}, "cannot be changed");
  refused(joined({"auc"}, solvers), "--train FILE is missing");
  refused(joined({"auc", "--train", path("none.csv"), "--label", "l", "--positive", "1"}, solvers),
          "none.csv: there is no such file");
  refused(joined({"auc", "--train", data_file(), "--label", "class", "--positive", "spam", "--noise", "1"},
                 solvers),
          "mean nothing to auc");
  refused(joined({"quadratic", "auc", "--train", path("rows.csv")}, solvers), "not both");
  folder_.write("taken", "a file");
  refused(joined({"quadratic", "--out", path("taken")}, solvers), "exists and is not an empty folder");
}

}  // namespace
}  // namespace bilevel
