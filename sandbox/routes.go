package sandbox

import "net/http"

// routes is everything that is served: what Switchyard calls, and nothing else. The permissions are
// those of https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps
func routes() []route {
	const repo = "/repos/{owner}/{repo}"
	any1 := func(keys ...string) func(level string) []permission {
		return func(level string) []permission {
			accepted := make([]permission, 0, len(keys))
			for _, key := range keys {
				accepted = append(accepted, permission{key, level})
			}
			return accepted
		}
	}
	checks, deployments, talk := any1("checks"), any1("deployments"), any1("issues", "pull_requests")
	contents, metadata, pulls, members := any1("contents"), any1("metadata"), any1("pull_requests"), any1("members")
	const read, write = "read", "write"
	return append(actionsRoutes(any1), []route{
		{http.MethodPost, "/graphql", asInstallation, nil, serveGraphQL},

		{http.MethodGet, "/app", asApp, nil, getApp},
		{http.MethodGet, "/app/installations", asApp, nil, listInstallations},
		{http.MethodGet, "/app/installations/{installation_id}", asApp, nil, getInstallation},
		{http.MethodPost, tokensPattern, asApp, nil, createToken},
		{http.MethodGet, repo + "/installation", asApp, nil, getRepositoryInstallation},
		{http.MethodGet, "/app/hook/deliveries", asApp, nil, listDeliveries},
		{http.MethodPost, "/app/hook/deliveries/{delivery_id}/attempts", asApp, nil, redeliver},

		{http.MethodDelete, "/installation/token", asInstallation, nil, revokeToken},
		{http.MethodGet, "/rate_limit", asInstallation, nil, getRateLimit},
		{http.MethodGet, "/users/{username}", asAnybody, nil, getUser},
		{http.MethodGet, "/installation/repositories", asInstallation, metadata(read), listInstallationRepositories},
		{http.MethodGet, "/orgs/{org}/teams/{team_slug}/memberships/{username}", asInstallation, members(read), getMembership},

		{http.MethodGet, repo, asInstallation, metadata(read), getRepository},
		{http.MethodGet, repo + "/activity", asInstallation, contents(read), listActivities},
		{http.MethodGet, repo + "/collaborators/{username}/permission", asInstallation, metadata(read), getPermission},
		{http.MethodGet, repo + "/contents/{path}", asInstallation, contents(read), getContents},
		{http.MethodGet, repo + "/pulls", asInstallation, pulls(read), listPulls},
		{http.MethodGet, repo + "/pulls/{pull_number}", asInstallation, pulls(read), getPull},
		{http.MethodGet, repo + "/pulls/{pull_number}/commits", asInstallation, pulls(read), listPullCommits},
		{http.MethodGet, repo + "/pulls/{pull_number}/reviews", asInstallation, pulls(read), listReviews},
		{http.MethodPost, repo + "/pulls/{pull_number}/reviews", asInstallation, pulls(write), createReview},
		{http.MethodGet, repo + "/pulls/{pull_number}/reviews/{review_id}", asInstallation, pulls(read), getReview},
		{http.MethodPut, repo + "/pulls/{pull_number}/reviews/{review_id}/dismissals", asInstallation, pulls(write), dismissReview},
		{http.MethodGet, repo + "/commits/{commit_sha}/pulls", asInstallation, pulls(read), listPullsOfCommit},

		{http.MethodPost, repo + "/check-runs", asInstallation, checks(write), createCheck},
		{http.MethodGet, repo + "/check-runs/{check_run_id}", asInstallation, checks(read), getCheck},
		{http.MethodPatch, repo + "/check-runs/{check_run_id}", asInstallation, checks(write), updateCheck},
		{http.MethodGet, repo + "/commits/{ref}/check-runs", asInstallation, checks(read), listChecks},

		{http.MethodGet, repo + "/issues", asInstallation, talk(read), listIssues},
		{http.MethodPost, repo + "/issues", asInstallation, any1("issues")(write), createIssue},
		{http.MethodGet, repo + "/issues/{issue_number}", asInstallation, talk(read), getIssue},
		{http.MethodPatch, repo + "/issues/{issue_number}", asInstallation, talk(write), updateIssue},
		{http.MethodGet, repo + "/issues/{issue_number}/comments", asInstallation, talk(read), listComments},
		{http.MethodPost, repo + "/issues/{issue_number}/comments", asInstallation, talk(write), createComment},
		{http.MethodGet, repo + "/issues/comments/{comment_id}", asInstallation, talk(read), getComment},
		{http.MethodPatch, repo + "/issues/comments/{comment_id}", asInstallation, talk(write), updateComment},
		{http.MethodGet, repo + "/issues/comments/{comment_id}/reactions", asInstallation, talk(read), listReactions},
		{http.MethodPost, repo + "/issues/comments/{comment_id}/reactions", asInstallation, talk(write), createReaction},
		{http.MethodGet, repo + "/labels", asInstallation, talk(read), listLabels},
		{http.MethodPost, repo + "/labels", asInstallation, talk(write), createLabel},
		{http.MethodGet, repo + "/issues/{issue_number}/labels", asInstallation, talk(read), listIssueLabels},
		{http.MethodPost, repo + "/issues/{issue_number}/labels", asInstallation, talk(write), addIssueLabels},
		{http.MethodDelete, repo + "/issues/{issue_number}/labels/{name}", asInstallation, talk(write), removeIssueLabel},

		{http.MethodGet, repo + "/deployments", asInstallation, deployments(read), listDeployments},
		{http.MethodPost, repo + "/deployments", asInstallation, deployments(write), createDeployment},
		{http.MethodGet, repo + "/deployments/{deployment_id}/statuses", asInstallation, deployments(read), listDeploymentStatuses},
		{http.MethodPost, repo + "/deployments/{deployment_id}/statuses", asInstallation, deployments(write), createDeploymentStatus},
	}...)
}
