// What tests include besides.
#ifndef HATCHECK_BUILD_PRECOMPILED_TESTING_H_
#define HATCHECK_BUILD_PRECOMPILED_TESTING_H_

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#endif  // HATCHECK_BUILD_PRECOMPILED_TESTING_H_
