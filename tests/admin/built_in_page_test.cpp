// The page as it is compiled in.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include "admin/page.hpp"

namespace barrel_p2p {
namespace {

std::string text_of(const admin::PageFile& file) { return {file.bytes.begin(), file.bytes.end()}; }

class BuiltInPage : public ::testing::Test {
 protected:
  void SetUp() override {
    if (admin::page_files().empty()) GTEST_SKIP() << "the page is not built in (BARREL_P2P_DASHBOARD)";
    const auto files = admin::page_files();
    const auto index = std::ranges::find(files, std::string_view("/"), &admin::PageFile::path);
    ASSERT_NE(index, files.end());
    html_ = text_of(*index);
  }

  std::string html_;
};

TEST_F(BuiltInPage, has_an_index_and_files_that_are_named_after_their_content) {
  EXPECT_TRUE(html_.starts_with("<!doctype html>"));
  std::set<std::string_view> etags;
  for (const auto& file : admin::page_files()) {
    EXPECT_TRUE(file.path == "/" || file.path.starts_with("/assets/")) << file.path;
    EXPECT_TRUE(file.content_type.ends_with("; charset=utf-8")) << file.content_type;
    EXPECT_TRUE(file.etag.size() > 2 && file.etag.starts_with('"') && file.etag.ends_with('"')) << file.etag;
    EXPECT_FALSE(file.bytes.empty()) << file.path;
    EXPECT_TRUE(etags.insert(file.etag).second) << file.etag;
  }
}

TEST_F(BuiltInPage, asks_for_files_that_are_there_and_for_nothing_of_others) {
  std::size_t asked = 0;
  for (const std::string_view attribute : {"src=\"", "href=\""}) {
    for (auto at = html_.find(attribute); at != std::string::npos; at = html_.find(attribute, at + 1)) {
      const auto from = at + attribute.size();
      const std::string address = html_.substr(from, html_.find('"', from) - from);
      ASSERT_TRUE(address.starts_with("./assets/")) << address;
      EXPECT_TRUE(std::ranges::any_of(admin::page_files(), [&](const auto& file) {
        return file.path == address.substr(1);
      })) << address;
      ++asked;
    }
  }
  EXPECT_EQ(asked, 3U) << html_;  // the script, the style, the icon
}

TEST_F(BuiltInPage, has_no_script_or_style_in_its_html_which_the_policy_would_forbid) {
  for (auto at = html_.find("<script"); at != std::string::npos; at = html_.find("<script", at + 1)) {
    const auto end = html_.find('>', at);
    EXPECT_NE(html_.substr(at, end - at).find("src="), std::string::npos);
    EXPECT_EQ(html_.substr(end + 1, 9), "</script>");
  }
  EXPECT_EQ(html_.find("<style"), std::string::npos);
  EXPECT_EQ(html_.find(" style="), std::string::npos);
}

}  // namespace
}  // namespace barrel_p2p
