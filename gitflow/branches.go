package gitflow

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// kind is what GitFlow knows a branch as.
type kind int

const (
	other         kind = iota // GitFlow says nothing about it
	mainBranch                // main, master
	developBranch             // develop
	releaseBranch             // release/*
	singleRelease             // release: one branch for all releases, as GitHub AT-AT sets up
	hotfixBranch              // hotfix/*
	supportBranch             // support/*
	fixBranch                 // fix/*, bugfix/*
	topicBranch               // feature/* and its friends
)

const (
	develop       = "develop"
	releasePrefix = "release/"
	release       = "release"
	// queuePrefix begins the temporary branches of GitHub's merge queue (docs.github.com, "Managing a merge queue").
	queuePrefix = "gh-readonly-queue/"
)

// kindOf tells the kind of a branch from its name alone, letter by letter: a name that only looks
// similar is no GitFlow branch.
func kindOf(branch string) kind {
	switch branch {
	case "main", "master":
		return mainBranch
	case develop:
		return developBranch
	case release:
		return singleRelease
	}
	prefix, rest, ok := strings.Cut(branch, "/")
	if !ok || rest == "" {
		return other
	}
	switch prefix {
	case "release":
		return releaseBranch
	case "hotfix":
		return hotfixBranch
	case "support":
		return supportBranch
	case "fix", "bugfix":
		return fixBranch
	case "feature", "feat", "chore", "docs", "refactor", "test", "dependabot", "renovate":
		return topicBranch
	default:
		return other
	}
}

// a names a branch by its kind, with the prefix that its author chose: "a docs branch".
func a(branch string) string {
	switch kindOf(branch) {
	case mainBranch, developBranch:
		return branch
	case singleRelease:
		return "the release branch"
	case releaseBranch, hotfixBranch, supportBranch, fixBranch, topicBranch:
		prefix, _, _ := strings.Cut(branch, "/")
		return "a " + prefix + " branch"
	default:
		return show(branch)
	}
}

// newest finds the newest open release that is newer than a branch and deploys to the same environment.
func newest(branch string, rivals []string) (string, bool) {
	found := branch
	for _, rival := range rivals {
		if kindOf(rival) == releaseBranch && compareReleases(rival, found) > 0 {
			found = rival
		}
	}
	return found, found != branch
}

// compareReleases orders release branches by their names: numbers as numbers, 1.0-rc1 before 1.0.
// The literal branch release has no version and is older than any that has one.
func compareReleases(x, y string) int {
	if x == y {
		return 0
	}
	if x == release || y == release {
		return cmp.Compare(len(x), len(y))
	}
	left, right := versionParts(x), versionParts(y)
	for i := range min(len(left), len(right)) {
		if c := comparePart(left[i], right[i]); c != 0 {
			return c
		}
	}
	switch {
	case len(left) < len(right):
		return -suffixWeight(right[len(left):])
	case len(left) > len(right):
		return suffixWeight(left[len(right):])
	default:
		return strings.Compare(x, y) // 1.0 and 01.0: any order will do that is always the same
	}
}

// versionParts cuts the name of a release into runs of digits and runs of anything else.
func versionParts(branch string) []string {
	name := strings.TrimPrefix(strings.TrimPrefix(branch, releasePrefix), "v")
	var parts []string
	start := 0
	for i := 1; i <= len(name); i++ {
		if i == len(name) || digit(name[i]) != digit(name[i-1]) {
			parts = append(parts, name[start:i])
			start = i
		}
	}
	return parts
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func comparePart(x, y string) int {
	if !digit(x[0]) || !digit(y[0]) {
		return strings.Compare(x, y)
	}
	x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)) // any number of digits
}

// suffixWeight tells whether more after an equal beginning makes a release newer (1.0.1) or, as -rc1
// does, older.
func suffixWeight(parts []string) int {
	if word := parts[0]; len(word) > 1 && word[0] == '-' {
		return -1
	}
	return 1
}

const longestName = 60 // characters of a branch name in a sentence

// show makes a branch name fit for a sentence: nothing invisible is in it, and it is not endless.
func show(branch string) string {
	runes := []rune(strings.ToValidUTF8(branch, "\uFFFD"))
	for i, r := range runes {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.IsSpace(r) && r != ' ' {
			runes[i] = unicode.ReplacementChar
		}
	}
	if len(runes) > longestName {
		half := longestName / 2
		runes = slices.Concat(runes[:half-1], []rune{'…'}, runes[len(runes)-half:])
	}
	return string(runes)
}

// showAll lists branches as a sentence does: a, b or c.
func showAll(branches []string) string {
	shown := make([]string, 0, len(branches))
	for _, branch := range branches {
		shown = append(shown, show(branch))
	}
	if len(shown) < 2 {
		return strings.Join(shown, "")
	}
	last := len(shown) - 1
	return strings.Join(shown[:last], ", ") + " or " + shown[last]
}
