package gitflow

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

// Reviews is what was observed about who wrote a pull request and who reviewed it.
type Reviews struct {
	Needed int    `yaml:"needed"` // people who must have approved
	Head   string `yaml:"head"`   // the commit that a review must be of

	Authors       []string `yaml:"authors"`        // logins of who wrote its commits, and of who opened it
	AuthorsCut    bool     `yaml:"authors_cut"`    // it has more commits than GitHub lists, so some authors are not known
	AuthorsNoname []string `yaml:"authors_noname"` // addresses in its commits that GitHub knows no account for

	Reviews    []Review `yaml:"reviews"`     // in any order
	ReviewsCut bool     `yaml:"reviews_cut"` // it has more reviews than were read, so somebody's newest one may be missing

	Proven bool `yaml:"proven"` // a workflow's job has to prove the approvals: there, nobody's yes to the apply stands in for them
}

// Review is one review of a pull request.
type Review struct {
	Login      string    `yaml:"login"` // "" when the account is gone
	Bot        bool      `yaml:"bot"`
	Permission string    `yaml:"permission"` // of its author on the repository, as operation.PermissionRank knows it
	State      string    `yaml:"state"`      // one of the Review states
	Commit     string    `yaml:"commit"`     // that was reviewed
	Submitted  time.Time `yaml:"submitted"`
	Unseen     bool      `yaml:"unseen"` // the plan that counts now was not there yet when it was given
}

// The states of a review, as GitHub's API gives them, in small letters.
// https://docs.github.com/en/rest/pulls/reviews#list-reviews-for-a-pull-request
const (
	ReviewApproved         = "approved"
	ReviewChangesRequested = "changes_requested"
	ReviewDismissed        = "dismissed"
	ReviewCommented        = "commented" // leaves what the same person said before as it is
	ReviewPending          = "pending"   // not submitted yet
)

// reviewPermission is the least permission of who may approve: that with which GitHub counts an approval, too.
// https://docs.github.com/en/pull-requests, "Approving a pull request with required reviews"
const reviewPermission = "write"

// maxListed bounds how many people a sentence or a list names: anybody can review a public pull request.
const maxListed = 20

// Approval is whether enough people have approved, with the reasons. Its texts are plain text, not Markdown.
type Approval struct {
	Approved bool
	Needed   int
	By       []string // logins of the people whose approval counts, in the order in which they gave it
	Headline string   // how many have approved, and who: a sentence without its capital and its full stop
	Reasons  []string // whole sentences: why each other review does not count, and what is not known about the authors
	Remedy   string   // the one next step when not approved; else ""
	Unknown  []string // which of Reasons say that who wrote it, or who reviewed it, is not known in full: no review can approve it then
}

// DecideApproval decides whether enough people have approved a pull request: people who wrote no commit of it, who have write
// permission, and whose latest review approves its newest commit. A later comment takes back no approval, and nobody's request for
// changes takes back another person's.
func DecideApproval(facts Reviews) Approval {
	d := Approval{Needed: max(facts.Needed, 0)}
	var discounted []string
	for _, review := range latestReviews(facts.Reviews) {
		if why := discounts(facts, review); why != "" {
			discounted = append(discounted, why)
			continue
		}
		d.By = append(d.By, review.Login)
	}
	d.Reasons = append(d.Reasons, discounted[:min(len(discounted), maxListed)]...)
	if n := len(discounted) - maxListed; n > 0 {
		d.Reasons = append(d.Reasons, fmt.Sprintf("%d more reviews do not count.", n))
	}
	if d.Needed == 0 {
		d.Approved, d.Headline = true, "no approval is needed"
		return d
	}
	if facts.AuthorsCut || facts.ReviewsCut || len(facts.AuthorsNoname) > 0 {
		return notKnown(facts, d)
	}
	d.Approved = len(d.By) >= d.Needed
	d.Headline = headline(d)
	if !d.Approved {
		more := ""
		if len(d.By) > 0 {
			more = "more "
		}
		d.Remedy = fmt.Sprintf("Ask %s with %s permission, and not an author, to approve its newest commit.",
			people(d.Needed-len(d.By), more), reviewPermission)
	}
	return d
}

// notKnown refuses what would be a guess.
func notKnown(facts Reviews, d Approval) Approval {
	otherwise := "say yes to its changes when the apply asks."
	if facts.Proven {
		otherwise = "set approvals to 0 for this apply: a yes does not stand in for them in a workflow."
	}
	d.Remedy = strings.ToUpper(otherwise[:1]) + otherwise[1:]
	if facts.ReviewsCut {
		d.Headline = "not approved: not all of its reviews are known"
		d.Unknown = append(d.Unknown, "It has so many reviews that they are not all read, so an approval may have been taken back since.")
	}
	if len(facts.AuthorsNoname) > 0 {
		d.Headline = "not approved: not all of its authors are known"
		d.Unknown = append(d.Unknown, "GitHub knows no account for "+some(facts.AuthorsNoname)+
			", so each of its reviewers may have written these commits.")
		d.Remedy = "Have them add these addresses to their accounts at GitHub, list those that are no person's under machine_authors in " +
			repoconfig.Path + ", or " + otherwise
	}
	if facts.AuthorsCut {
		d.Headline = "not approved: not all of its authors are known"
		d.Unknown = append(d.Unknown, "It has more commits than GitHub lists, so each of its reviewers may be an author.")
		d.Remedy = "Split it into smaller pull requests before it is merged, or " + otherwise
	}
	d.Reasons = append(d.Reasons, d.Unknown...)
	return d
}

// headline says who has approved, and how many are missing.
func headline(d Approval) string {
	switch {
	case d.Approved:
		return "approved by " + some(d.By)
	case len(d.By) == 0:
		return fmt.Sprintf("not approved: %s must approve, and nobody has", people(d.Needed, ""))
	default:
		return fmt.Sprintf("not approved yet: %s must approve, and only %s did", people(d.Needed, ""), some(d.By))
	}
}

func people(n int, more string) string {
	if n == 1 {
		return "one " + more + "person"
	}
	return fmt.Sprintf("%d %speople", n, more)
}

// latestReviews keeps the newest verdict of each person, oldest first.
func latestReviews(all []Review) []Review {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Review) int { return a.Submitted.Compare(b.Submitted) })
	place := map[string]int{} // in sorted, by login in small letters: GitHub ignores case there
	for i, review := range sorted {
		if review.State != ReviewCommented && review.State != ReviewPending {
			place[strings.ToLower(review.Login)] = i
		}
	}
	latest := make([]Review, 0, len(place))
	for _, i := range place {
		latest = append(latest, sorted[i])
	}
	slices.SortFunc(latest, func(a, b Review) int {
		return cmp.Compare(place[strings.ToLower(a.Login)], place[strings.ToLower(b.Login)])
	})
	return latest
}

// discounts says why a person's latest review does not count; "" if it does.
func discounts(facts Reviews, review Review) string {
	who := show(review.Login)
	wrote := slices.ContainsFunc(facts.Authors, func(author string) bool { return strings.EqualFold(author, review.Login) })
	switch {
	case review.Login == "":
		return "A review does not count: the account of who gave it is gone."
	case review.State == ReviewChangesRequested:
		return who + " requested changes."
	case review.State == ReviewDismissed:
		return "The review of " + who + " was dismissed."
	case review.State != ReviewApproved:
		return "The review of " + who + " does not count: its state " + show(review.State) + " is not known here."
	case review.Bot:
		return "The approval of " + who + " does not count: it is a bot."
	case wrote:
		return "The approval of " + who + " does not count: " + who + " is an author."
	case operation.PermissionRank(review.Permission) < operation.PermissionRank(reviewPermission):
		return "The approval of " + who + " does not count: it needs " + reviewPermission + " permission, and " + who + " has " +
			cmp.Or(show(review.Permission), "none") + "."
	case facts.Head == "":
		return "The approval of " + who + " does not count: the newest commit is not known."
	case review.Unseen:
		return "The approval of " + who + " does not count: the plan was not there yet, or shows more by now."
	case review.Commit != facts.Head:
		return "The approval of " + who + " does not count: it is of " + shortCommit(review.Commit) + ", and the newest commit is " +
			shortCommit(facts.Head) + "."
	default:
		return ""
	}
}

// shortCommit is a commit as people know it.
func shortCommit(sha string) string {
	const length = 7
	if sha == "" {
		return "a commit that is gone"
	}
	return show(sha[:min(len(sha), length)])
}

// some lists names as a sentence does, the first of very many.
func some(names []string) string {
	shown := make([]string, 0, min(len(names), maxListed)+1)
	for _, name := range names[:min(len(names), maxListed)] {
		shown = append(shown, show(name))
	}
	if n := len(names) - maxListed; n > 0 {
		shown = append(shown, fmt.Sprintf("%d more", n))
	}
	if len(shown) == 1 {
		return shown[0]
	}
	last := len(shown) - 1
	return strings.Join(shown[:last], ", ") + " and " + shown[last]
}

// String is the decision as golden files show it: everything that a person will read.
func (a Approval) String() string {
	var text strings.Builder
	word := "waiting"
	if a.Approved {
		word = "approved"
	}
	fmt.Fprintf(&text, "%-9s %s\n", word, a.Headline)
	for _, reason := range a.Reasons {
		fmt.Fprintf(&text, "%-9s %s\n", "because", reason)
	}
	if a.Remedy != "" {
		fmt.Fprintf(&text, "%-9s %s\n", "next", a.Remedy)
	}
	return text.String()
}
