#include "bilevel/task/clean/odd_rows.h"

#include <gtest/gtest.h>

#include <cmath>

namespace bilevel {
namespace odd_rows_test {

/// 40 rows of three columns on a grid with some noise; row 7 repeats row 3 nearly, row 20 lies far off.
torch::Tensor rows() {
  torch::Tensor all = torch::zeros({40, 3});
  for (int64_t i = 0; i < 40; ++i) {
    all[i][0] = static_cast<double>(i % 7) + 0.3 * std::sin(9.1 * static_cast<double>(i));
    all[i][1] = static_cast<double>(i / 7) + 0.3 * std::cos(7.7 * static_cast<double>(i));
    all[i][2] = 1;
  }
  all[7] = all[3] + 0.01;
  all[20] = torch::tensor({60.0, -40.0, 1.0});
  return all;
}

std::vector<int64_t> all_of(int64_t count) { return all_rows(count); }

TEST(OddRows, NearestRowsAreThoseOfBruteForce) {
  const torch::Tensor x = rows();
  const auto nearest = nearest_rows(Inputs::dense(x), all_of(40));
  ASSERT_TRUE(nearest);
  for (int64_t i = 0; i < 40; ++i) {
    torch::Tensor distances = (x - x[i]).to(torch::kFloat64).pow(2).sum(1).sqrt();
    distances[i] = INFINITY;
    const torch::Tensor sorted = std::get<0>(distances.sort());
    const auto at = static_cast<size_t>(i);
    EXPECT_NEAR(nearest->distance[at], sorted[0].item<double>(),
                1e-3);  // cdist goes by products: float32 of 60^2
    EXPECT_NEAR(nearest->mean[at], sorted.narrow(0, 0, 10).mean().item<double>(), 1e-3);
  }
}

TEST(OddRows, NearDuplicatesAndOutliers) {
  const auto nearest = nearest_rows(Inputs::dense(rows()), all_of(40));
  const OddRows odd = odd_rows(*nearest, {});
  ASSERT_EQ(odd.near_duplicates.size(), 1U);
  EXPECT_EQ(odd.near_duplicates[0].row, 7);
  EXPECT_EQ(odd.near_duplicates[0].other, 3);
  EXPECT_EQ(odd.outliers, (std::vector<int64_t>{20}));
  std::vector<int64_t> content = all_of(40);
  content[7] = 3;  // the same in what is read: a copy, which is told elsewhere
  EXPECT_TRUE(odd_rows(*nearest, content).near_duplicates.empty());
}

TEST(OddRows, SparseRowsByTheirCosine) {
  SparseRowsBuilder<float> builder;
  for (int64_t i = 0; i < 30; ++i) {
    builder.add_entry(i, 3);
    builder.add_entry(30 + i % 3, 1);
    builder.end_row();
  }
  builder.add_entry(4, 6);  // row 4, twice as long and a bit else
  builder.add_entry(31, 2.1F);
  builder.end_row();
  const Inputs inputs = Inputs::sparse(builder.finish(33));
  const auto nearest = nearest_rows(inputs, all_of(31));
  ASSERT_TRUE(nearest);
  EXPECT_NEAR(nearest->distance[0], 0.9, 1e-6);  // one common entry: 1 / (9 + 1)
  const double cosine = (3 * 6 + 2.1) / std::sqrt(10.0) / std::sqrt(36 + 2.1 * 2.1);
  EXPECT_NEAR(nearest->distance[30], 1 - cosine, 1e-6);
  EXPECT_EQ(nearest->row[30], 4);
  const OddRows odd = odd_rows(*nearest, {});
  ASSERT_EQ(odd.near_duplicates.size(), 1U);
  EXPECT_EQ(odd.near_duplicates[0].other, 4);
}

TEST(OddRows, NotLookedForWhereItWouldTakeLong) {
  EXPECT_FALSE(nearest_rows(Inputs::dense(rows()), all_of(40), /*work=*/40.0 * 40 * 3 - 1));
  EXPECT_TRUE(nearest_rows(Inputs::dense(rows()), all_of(40), /*work=*/40.0 * 40 * 3));
  EXPECT_FALSE(nearest_rows(Inputs::dense(rows()), all_of(19)));
}

TEST(OddRows, ASentence) {
  EXPECT_EQ(odd_rows_text({{"near_duplicates", 2}, {"with_other_label", 1}, {"outliers", 1}}),
            "2 pairs of rows are nearly the same, 1 with different labels; 1 row lies far from all others "
            "(odd_rows.tsv)");
  EXPECT_EQ(odd_rows_text({{"near_duplicates", 0}, {"with_other_label", 0}, {"outliers", 0}}), "");
  EXPECT_EQ(odd_rows_text({{"reason", "not looked for"}}), "");
}

}  // namespace odd_rows_test
}  // namespace bilevel
