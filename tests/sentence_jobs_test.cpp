// What every job does with a sentence encoder: taken from the registry, with an encoder of a few made weights.
#include <fmt/format.h>

#include <filesystem>

#include "bilevel/core/fields.h"
#include "bilevel/data/table.h"
#include "bilevel/task/job/saved_model.h"
#include "tests/jobs.h"
#include "tests/tiny_bert.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

class SentenceJobs : public AllJobs {
 protected:
  SentenceJobs()
      : file_(folder_.write("rows.csv", rows_of_eight_classes())),
        encoder_(write_tiny_encoder(folder_ / "tiny")) {}

  std::unique_ptr<Job> job(const nlohmann::json& more = nlohmann::json::object()) const {
    nlohmann::json options{{"text", "text"},
                           {"label", "class"},
                           {"steps", 6},
                           {"threads", 1},
                           {"seed", 3},
                           {"hidden", nullptr},
                           {"sentence_encoder", encoder_}};
    options.update(more);
    return job_on(file_, options);
  }
  std::string refusal(const nlohmann::json& more) const {
    return message_of<InputError>([&] { start_job(GetParam(), *job(more), path("refused")); });
  }
  PredictRequest request(const std::string& encoder = "") const {
    return {.model = path("run"),
            .input = file_,
            .out = path("p.tsv"),
            .shots = GetParam().predicts_from_shots ? file_ : "",
            .read = {},
            .sentence_encoder = encoder};
  }

  /// Of the vectors: 8 numbers of each of both layers; few-shot tasks read the last one by default.
  static int64_t vector_width() { return GetParam().predicts_from_shots ? 8 : 16; }

  std::string file_, encoder_;
};

TEST_P(SentenceJobs, JoinItsVectorsToNgrams) {
  std::vector<std::string> lines;
  const JobCallbacks callbacks{.message = [&](const std::string& line) { lines.push_back(line); }};
  nlohmann::json options{{"steps", 2}, {"l2", 0.01}};
  // By default what few-shot tasks share reads the vectors alone.
  if (GetParam().predicts_from_shots) options.update({{"encoder", "mlp"}, {"hidden", 8}});
  ASSERT_TRUE(start_job(GetParam(), *job(options), path("run"), callbacks).finished);
  EXPECT_EQ(std::ranges::count(lines, "encoding 8 texts by the sentence encoder " + encoder_), 1) << "once";
  const InputShape shape = load_model(path("run")).features.shape();
  EXPECT_EQ(shape.kind, InputKind::sparse);
  EXPECT_EQ(shape.width, (1 << 18) + vector_width());
  EXPECT_CONTAINS(read_bytes(path("run/report.html")),
                  fmt::format("{} numbers of the sentence encoder", vector_width()));
  predict(request());
  EXPECT_EQ(read_table(path("p.tsv")).rows(), 160U);
}

TEST_P(SentenceJobs, ReadItsVectorsAlone) {
  const bool by_default = GetParam().predicts_from_shots;
  const nlohmann::json asked{{"features_from", "encoder"}};
  ASSERT_TRUE(
      start_job(GetParam(), *job(by_default ? nlohmann::json::object() : asked), path("run")).finished);
  const SavedModel model = load_model(path("run"));
  EXPECT_EQ(model.network.encoder, by_default ? "residual" : "linear");
  EXPECT_EQ(model.features.shape().kind, InputKind::dense);
  EXPECT_EQ(model.features.shape().width, vector_width());
  EXPECT_EQ(model.features.names({}).back(), fmt::format("sentence {}", vector_width() - 1));
  predict(request());
  EXPECT_EQ(read_table(path("p.tsv")).rows(), 160U);
}

TEST_P(SentenceJobs, PredictByTheSameEncoderAlone) {
  ASSERT_TRUE(start_job(GetParam(), *job({{"features_from", "encoder"}}), path("run")).finished);
  predict(request());
  const std::string expected = read_bytes(path("p.tsv"));
  fs::rename(encoder_, path("moved"));
  EXPECT_CONTAINS(message_of<InputError>([&] { predict(request()); }),
                  "--sentence-encoder DIR names its folder");
  predict(request(path("moved")));
  EXPECT_EQ(read_bytes(path("p.tsv")), expected);
  write_tiny_encoder(encoder_, /*phase=*/1);
  for (const std::string& given : {std::string(), encoder_})
    EXPECT_CONTAINS(message_of<InputError>([&] { predict(request(given)); }),
                    "is not the one that the model was trained with");
}

TEST_P(SentenceJobs, AreNotContinuedWithAnotherEncoder) {
  ASSERT_TRUE(start_job(GetParam(), *job({{"features_from", "encoder"}}), path("run")).finished);
  fs::remove(path("run/summary.json"));
  write_tiny_encoder(encoder_, /*phase=*/1);
  EXPECT_CONTAINS(message_of<InputError>([&] { resume_job(GetParam(), path("run")); }),
                  "an input file has changed since this run began");
}

TEST_P(SentenceJobs, RefuseWhatDoesNotFit) {
  EXPECT_CONTAINS(
      refusal({{"encoder", "gru"}}),
      "encoder = gru: does not read features from n-grams and a sentence encoder; take bag, linear or mlp");
  EXPECT_CONTAINS(refusal({{"encoder", "bag"}, {"features_from", "encoder"}}),
                  "encoder = bag: does not read features from a sentence encoder alone; take fourier, "
                  "linear, mlp, residual or tab");
  EXPECT_CONTAINS(refusal({{"text", ""}, {"features", "a,b"}}), "a sentence encoder reads a text");
  EXPECT_CONTAINS(refusal({{"sentence_encoder", ""}, {"features_from", "encoder"}}),
                  "features_from = encoder: needs --sentence-encoder DIR");
  EXPECT_CONTAINS(refusal({{"sentence_encoder", path("none")}}), "there is no such folder");
}

INSTANTIATE_TEST_SUITE_P(Registry, SentenceJobs, testing::ValuesIn(job_registry()),
                         [](const auto& entry) { return entry.param.name; });

}  // namespace
}  // namespace bilevel
