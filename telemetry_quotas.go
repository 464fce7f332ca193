package chatcompletion

// quotaMetrics returns the instruments of quotas.
func quotaMetrics(states []quotaState) []metric {
	var used, limits, refused []point
	for i := range states {
		s := &states[i]
		attributes := quotaAttributes(s)
		if s.shown {
			isMoney := s.unit == unitCost
			used = append(used, point{attributes: attributes, count: s.used, isMoney: isMoney})
			limits = append(limits, point{attributes: attributes, count: s.limit, isMoney: isMoney})
		}
		refused = append(refused, point{attributes: withAttribute(attributes, modeAttribute, modeEnforce), count: s.refused})
		if s.over > 0 {
			refused = append(refused, point{attributes: withAttribute(attributes, modeAttribute, modeReport), count: s.over})
		}
	}
	return []metric{{quotaUsed, used}, {quotaLimit, limits}, {quotaRefused, refused}}
}

func quotaAttributes(s *quotaState) []string {
	attributes := []string{quotaNameAttribute, s.name, quotaUnitAttribute, s.unit}
	for _, a := range [][2]string{{quotaSubjectAttribute, s.subject}, {middlewareAttribute, s.scope}} {
		if a[1] != "" {
			attributes = append(attributes, a[0], a[1])
		}
	}
	return attributes
}
