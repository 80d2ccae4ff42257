package render

// PagesOf divides a plan between further comments whose sections weigh at most room, needed or not.
func PagesOf(v PullView, room int) *Pages {
	v = v.masked()
	result := planResult(v)
	return paged(v, firstTarget(result.Targets, v.First), repeatsIn(grouped(result, v.Regions)), room)
}
