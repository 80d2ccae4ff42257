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
	// MaxDeploymentDescription is in characters, of a deployment and of its statuses. See
	// https://docs.github.com/en/rest/deployments/statuses#create-a-deployment-status.
	MaxDeploymentDescription = 140
)

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
