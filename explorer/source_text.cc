#include "explorer/source_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

namespace explorer {
namespace {

constexpr std::array<std::string_view, 10> kAtomicCalls = {
    "load",      "store",     "exchange", "compare_exchange", "compare_exchange_strong",
    "fetch_add", "fetch_sub", "fetch_or", "fetch_and",        "fetch_xor"};

constexpr std::array<std::string_view, 1> kGet = {"get"};
constexpr std::array<std::string_view, 1> kSet = {"set"};

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

size_t skip_space_back(std::string_view text, size_t end) {
  while (end > 0 && std::isspace(static_cast<unsigned char>(text[end - 1])) != 0) --end;
  return end;
}

// Where the bracket that closes at `end - 1` opens, or npos.
size_t opening(std::string_view text, size_t end) {
  int depth = 0;
  for (size_t i = end; i-- > 0;) {
    if (text[i] == ')' || text[i] == ']') ++depth;
    if (text[i] == '(' || text[i] == '[') --depth;
    if (depth == 0) return i;
  }
  return std::string_view::npos;
}

// The postfix expression that ends at the end of the text: names, calls, subscripts, members.
std::string expression_before(std::string_view text) {
  const size_t end = skip_space_back(text, text.size());
  size_t begin = end;
  for (;;) {
    while (begin > 0 && (text[begin - 1] == ')' || text[begin - 1] == ']')) {
      const size_t open = opening(text, begin);
      if (open == std::string_view::npos) return "";
      begin = open;
    }
    while (begin > 0 && is_word(text[begin - 1])) --begin;
    const size_t before = skip_space_back(text, begin);
    const std::string_view head = text.substr(0, before);
    if (ends_with(head, "->") || ends_with(head, "::")) {
      begin = skip_space_back(text, before - 2);
    } else if (ends_with(head, ".")) {
      begin = skip_space_back(text, before - 1);
    } else {
      break;
    }
  }
  std::string expression;
  for (const char c : text.substr(begin, end - begin)) {
    if (std::isspace(static_cast<unsigned char>(c)) == 0) expression += c;
  }
  if (expression.rfind("this->", 0) == 0) expression.erase(0, 6);
  return expression;
}

// Takes the called member off: "x.count.load" -> "x.count". False if it is none of the names.
template <class Names>
bool strip_call(std::string& expression, const Names& names) {
  size_t at = expression.size();
  while (at > 0 && is_word(expression[at - 1])) --at;
  const std::string_view name = std::string_view(expression).substr(at);
  if (std::find(names.begin(), names.end(), name) == names.end()) return false;
  const std::string_view object = std::string_view(expression).substr(0, at);
  if (ends_with(object, "->")) {
    expression.resize(at - 2);
  } else if (ends_with(object, ".")) {
    expression.resize(at - 1);
  } else {
    return false;
  }
  return true;
}

// What the last assignment before `end` assigns to.
std::string assigned_before(std::string_view text) {
  for (size_t i = text.size(); i-- > 0;) {
    if (text[i] == ';' || text[i] == '{' || text[i] == '}') return "";
    if (text[i] != '=' || (i + 1 < text.size() && text[i + 1] == '=')) continue;
    if (i > 0 && std::string_view("=!<>+-*/|&^%").find(text[i - 1]) != std::string_view::npos) {
      continue;
    }
    return expression_before(text.substr(0, i));
  }
  return "";
}

// The call that the text begins with, "" if it is none or goes on as an expression: of a macro,
// whose place is that of all that it expands to.
std::string call_of(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && is_word(text[at])) ++at;
  if (at == 0 || at == text.size() || text[at] != '(') return "";
  int depth = 0;
  for (size_t i = at; i < text.size(); ++i) {
    if (text[i] == '(') ++depth;
    if (text[i] != ')' || --depth > 0) continue;
    const std::string_view rest = text.substr(i + 1);
    const bool goes_on = !rest.empty() && std::string_view(".-[").find(rest[0]) != rest.npos;
    return goes_on ? "" : std::string(text.substr(0, i + 1));
  }
  return "";
}

// What the only operation in the arguments of a macro is applied to, "" if there are several.
template <class Matches>
std::string only_operand(const std::string& macro, Matches matches) {
  std::string only;
  for (size_t i = macro.find('(') + 1; i < macro.size(); ++i) {
    if (macro[i] != '(') continue;
    std::string expression = expression_before(std::string_view(macro).substr(0, i));
    if (!matches(expression, macro[i + 1] == ')') || expression == only) continue;
    if (!only.empty()) return "";
    only = expression;
  }
  return only;
}

// What the first call of one of these functions is applied to, in a text that begins with it.
template <class Names>
std::string applied_to(std::string_view text, const Names& names) {
  for (size_t i = 0; i < text.size() && text[i] != ';'; ++i) {
    if (text[i] != '(') continue;
    std::string expression = expression_before(text.substr(0, i));
    if (strip_call(expression, names)) return expression;
  }
  return "";
}

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::vector<std::filesystem::path> roots() {
  std::vector<std::filesystem::path> roots = {"."};
  if (const char* workspace = std::getenv("BUILD_WORKSPACE_DIRECTORY")) {
    roots.emplace_back(workspace);
  }
  std::error_code error;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe", error).string();
  if (const size_t out = program.find("/bazel-out/"); out != std::string::npos) {
    roots.emplace_back(program.substr(0, out));
    const size_t bin = program.find("/bin/", out);
    if (bin != std::string::npos) roots.emplace_back(program.substr(0, bin + 4));
  }
  return roots;
}

// "bazel-out/k8-fastbuild/bin/x/y.cc" -> "x/y.cc": where a generated file lies among those that a
// program is run with.
std::string among_run_files(const std::string& file) {
  const size_t bin = file.rfind("bazel-out/", 0) == 0 ? file.find("/bin/") : std::string::npos;
  return bin == std::string::npos ? file : file.substr(bin + 5);
}

}  // namespace

const std::vector<std::string>& SourceText::lines(const std::string& file) {
  const auto [at, fresh] = files_.try_emplace(file);
  if (!fresh || file.empty()) return at->second;
  for (const std::filesystem::path& root : roots()) {
    for (const std::string& name : {file, among_run_files(file)}) {
      at->second = read_lines(root / name);
      if (!at->second.empty()) return at->second;
    }
  }
  return at->second;
}

std::string SourceText::line(const Site& site) {
  const std::vector<std::string>& all = lines(site.file);
  if (site.line < 1 || site.line > static_cast<int>(all.size())) return "";
  const std::string& line = all[site.line - 1];
  const size_t begin = line.find_first_not_of(" \t");
  return begin == std::string::npos ? "" : line.substr(begin);
}

std::string SourceText::operand(const Site& site, Operation operation) {
  const std::vector<std::string>& all = lines(site.file);
  if (site.line < 1 || site.line > static_cast<int>(all.size()) || site.column < 1 ||
      site.column > static_cast<int>(all[site.line - 1].size())) {
    return "";
  }
  // Expressions of more than a few lines are left alone.
  constexpr int kLines = 3;
  const size_t column = static_cast<size_t>(site.column - 1);
  std::string before;
  for (int i = std::max(site.line - kLines, 1); i < site.line; ++i) before += all[i - 1] + "\n";
  before += all[site.line - 1].substr(0, column);
  std::string after = all[site.line - 1].substr(column);
  for (int i = site.line; i < std::min<int>(site.line + kLines, all.size()); ++i) {
    after += "\n" + all[i];
  }
  // g++: the place of a call is its parenthesis. clang: so it is for a call operator, else it is
  // where the expression begins. Of a converted value both give a place in the value.
  const bool call = after[0] == '(';
  std::string expression = call ? expression_before(before) : "";
  const std::string macro = call_of(after);
  switch (operation) {
    case Operation::kAtomic: {
      const auto atomic = [](std::string& e, bool) { return strip_call(e, kAtomicCalls); };
      if (call) return atomic(expression, false) ? expression : "";
      return macro.empty() ? applied_to(after, kAtomicCalls) : only_operand(macro, atomic);
    }
    case Operation::kRead: {
      const auto read = [](std::string& e, bool empty) { return strip_call(e, kGet) || empty; };
      if (call) return read(expression, true) ? expression : "";
      return macro.empty() ? applied_to(after, kGet) : only_operand(macro, read);
    }
    case Operation::kWrite:
      if (call && strip_call(expression, kSet)) return expression;
      expression = call ? "" : applied_to(after, kSet);
      return expression.empty() ? assigned_before(before) : expression;
  }
  return "";
}

std::string SourceText::macro(const Site& site) {
  const std::string text = line(site);
  const std::vector<std::string>& all = lines(site.file);
  if (text.empty() || site.column < 1) return "";
  const std::string& whole = all[site.line - 1];
  return site.column > static_cast<int>(whole.size())
             ? ""
             : call_of(std::string_view(whole).substr(static_cast<size_t>(site.column - 1)));
}

}  // namespace explorer
