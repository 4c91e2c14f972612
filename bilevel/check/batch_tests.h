// Whether the losses are what minibatches need: means over rows, in whatever order.
#pragma once

#include "bilevel/check/session.h"

namespace bilevel {

/// For each level whose batches can hold fewer than all rows, at `point`:
/// - the loss of a batch and that of the same rows in another order;
/// - the mean over the minibatches of a partition of the rows, each counted by its rows, and the loss of all these
///   rows, values and gradients. Where they differ, 20 more partitions tell a loss whose minibatches are right on
///   average (pairs of rows, dropout) from one that is biased (a sum, batch normalization);
/// - where the batches carry weights: rows that stand in a batch twice and count half each.
/// Where every batch is all rows a difference is a warning.
void test_batches(Session& session, const TestPoint& point);

}  // namespace bilevel
