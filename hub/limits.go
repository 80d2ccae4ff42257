package hub

import "time"

// Limits of GitHub that this package keeps by itself, so that a write is never refused for its length.
const (
	// MaxCheckTitle is in characters. See
	// https://docs.github.com/en/rest/checks/runs#create-a-check-run.
	MaxCheckTitle = 255
	// MaxCheckText is in characters, for the summary and the text each. See
	// https://docs.github.com/en/rest/checks/runs#create-a-check-run.
	MaxCheckText = 65_535
	// MaxCheckActions is how many buttons a check run can have, and how long their texts may be. See
	// https://docs.github.com/en/rest/checks/runs#create-a-check-run.
	MaxCheckActions           = 3
	MaxCheckActionLabel       = 20
	MaxCheckActionDescription = 40
	MaxCheckActionIdentifier  = 20
	// MaxComment is in characters; a longer body is refused with "body is too long (maximum is 65536
	// characters)". See https://docs.github.com/en/rest/issues/comments#create-an-issue-comment.
	MaxComment = 65_536
	// maxIssueTitle is in characters. See https://docs.github.com/en/rest/issues/issues#create-an-issue, which refuses longer ones.
	maxIssueTitle = 256
	// MaxDeploymentDescription is in characters, of a deployment and of its statuses. See
	// https://docs.github.com/en/rest/deployments/statuses#create-a-deployment-status.
	MaxDeploymentDescription = 140
)

// The pace of writes to one installation: nine tenths of GitHub's limit, "no more than 80 content-generating
// requests per minute and no more than 500 content-generating requests per hour". The rest is for writes
// that must follow another one, and for those of a process that has just gone. GitHub does not list which
// requests generate content, so every write counts. See
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits.
const (
	DefaultPerMinute = 72
	DefaultPerHour   = 450
)

// botsShare is how much of the pace bots may use, in percent: what is left lets people's writes through at once
// while a bot has opened more pull requests than GitHub lets us answer in an hour.
const botsShare = 70

// callsFloor is the part of the primary limit, in percent, that reads which can wait leave to the others: of 5,000
// calls the last 500, which is as many as the writes of an hour at their limit. See
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#primary-rate-limit-for-github-app-installations.
const callsFloor = 10

// perPage is the largest page. See
// https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api.
const perPage = 100

// Bounds on how many pages one question may take.
const (
	maxPullPages         = 10  // 1,000 open pull requests
	maxCommitPullPages   = 3   // 300 pull requests with one commit
	maxCommentPages      = 30  // 3,000 comments before our own one
	maxRepositoryPages   = 100 // 10,000 repositories of one installation
	maxInstallationPages = 100
)

// How long to wait where GitHub says no time: "wait for at least one minute", then exponentially longer.
// A primary limit is over after an hour at most. See
// https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#handle-rate-limit-errors-appropriately.
const (
	secondaryWait    = time.Minute
	maxSecondaryWait = 16 * time.Minute
	maxWait          = 2 * time.Hour
	minWait          = time.Second
)

// apiVersion is the version of the REST API that this package speaks. See
// https://docs.github.com/en/rest/about-the-rest-api/api-versions.
const apiVersion = "2022-11-28"

// Bounds of this package's memory.
const (
	maxResponse        = 32 << 20 // bytes of one response
	maxCachedResponse  = 64 << 10 // bytes; larger ones are not kept
	maxCachedResponses = 1024
	maxWords           = 500 // characters of GitHub's words in an error
)
