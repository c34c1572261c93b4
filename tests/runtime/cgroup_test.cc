// The default of GOMAXPROCS in a container: cgroupprocs on made-up /proc and /sys files.
#include <filesystem>
#include <fstream>

#include "fixture.h"
#include "proc.h"

namespace {

namespace fs = std::filesystem;

class Cgroup : public testing::Test {
 protected:
  fs::path root = fs::temp_directory_path() / ("vitrine_cgroup_" + std::to_string(getpid()));
  void SetUp() override { fs::remove_all(root); }
  void TearDown() override { fs::remove_all(root); }

  void file(const std::string& path, const std::string& text) {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  }
  void version2(const std::string& group, const std::string& top = "/", const std::string& at = "/sys/fs/cgroup") {
    file("proc/self/cgroup", "0::" + group + "\n");
    file("proc/self/mountinfo",
         "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
         "31 22 0:27 " +
             top + " " + at + " rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
  }
  int procs() { return rt::cgroupprocs(root.c_str()); }
};

TEST_F(Cgroup, QuotaIsRoundedUpAndAtLeastTwo) {
  version2("/app");
  for (auto [text, want] : std::initializer_list<std::pair<const char*, int>>{{"250000 100000\n", 3},
                                                                              {"400000 100000\n", 4},
                                                                              {"400001 100000\n", 5},
                                                                              {"100000 100000\n", 2},
                                                                              {"1000 100000\n", 2},
                                                                              {"max 100000\n", 0}}) {
    file("sys/fs/cgroup/app/cpu.max", text);
    EXPECT_EQ(procs(), want) << text;
  }
}

TEST_F(Cgroup, TheTightestOfTheGroupsAboveCounts) {
  version2("/slice/app");
  file("sys/fs/cgroup/slice/app/cpu.max", "800000 100000\n");
  EXPECT_EQ(procs(), 8);
  file("sys/fs/cgroup/slice/cpu.max", "300000 100000\n");
  EXPECT_EQ(procs(), 3);
  file("sys/fs/cgroup/cpu.max", "500000 100000\n");
  EXPECT_EQ(procs(), 3);
  file("sys/fs/cpu.max", "200000 100000\n");  // above the mount point
  EXPECT_EQ(procs(), 3);
}

TEST_F(Cgroup, Version1HasTwoFilesAndGoesBeforeVersion2) {
  file("proc/self/cgroup", "5:memory:/docker/x\n4:cpuacct,cpu:/docker/x\n3:cpuset:/other\n0::/y\n");
  file("proc/self/mountinfo",
       "31 22 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
       "32 22 0:28 /docker/x /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
       "33 22 0:29 /docker/x /sys/fs/cgroup/cpu\\040time rw master:3 - cgroup cgroup rw,cpu,cpuacct\n");
  file("sys/fs/cgroup/unified/y/cpu.max", "900000 100000\n");
  file("sys/fs/cgroup/cpu time/cpu.cfs_period_us", "50000\n");
  file("sys/fs/cgroup/cpu time/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(procs(), 0);
  file("sys/fs/cgroup/cpu time/cpu.cfs_quota_us", "175000\n");
  EXPECT_EQ(procs(), 4);
}

TEST_F(Cgroup, WhatIsNotThereOrNotUnderstoodIsNoLimit) {
  EXPECT_EQ(procs(), 0);
  version2("/app");
  EXPECT_EQ(procs(), 0);
  for (const char* text :
       {"", "\n", "100000\n", "x 100000\n", "400000 0\n", "-5 100000\n", "99999999999999999999999 100000\n"}) {
    file("sys/fs/cgroup/app/cpu.max", text);
    EXPECT_EQ(procs(), 0) << text;
  }
  file("sys/fs/cgroup/app/cpu.max", "400000 100000\n");
  EXPECT_EQ(procs(), 4);
  version2("/application", "/app");  // another group than the one that is mounted
  EXPECT_EQ(procs(), 0);
  version2("/../app");
  EXPECT_EQ(procs(), 0);
  file("proc/self/cgroup", "no colons here\n");
  EXPECT_EQ(procs(), 0);
  version2("/" + std::string(5000, 'x'));
  EXPECT_EQ(procs(), 0);
}

TEST(Procs, DefaultIsNoMoreThanTheCpus) {
  EXPECT_GE(rt::defaultprocs(), 1);
  EXPECT_LE(rt::defaultprocs(), rt::ncpu);
}

TEST(Version, IsANumber) { EXPECT_NE(vitrine::runtime::version().find('.'), std::string_view::npos); }

}  // namespace
