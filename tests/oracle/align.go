package oracle

// align pairs elements of two lists without crossing, so that the sum of what the pairs are worth is as big as can be. A pair that is worth 0 is
// none. Elements that are worth as much as any at both ends are paired first, which makes long lists that are nearly equal cheap.
func align[E, F any](a []E, b []F, worth func(a E, b F) int32) [][2]int {
	var pairs, tail [][2]int
	from := 0
	for from < len(a) && from < len(b) && worth(a[from], b[from]) >= full {
		pairs = append(pairs, [2]int{from, from})
		from++
	}
	n, m := len(a), len(b)
	for n > from && m > from && worth(a[n-1], b[m-1]) >= full {
		n, m = n-1, m-1
		tail = append([][2]int{{n, m}}, tail...)
	}
	for _, p := range alignRest(a[from:n], b[from:m], worth) {
		pairs = append(pairs, [2]int{from + p[0], from + p[1]})
	}
	return append(pairs, tail...)
}

// full is the worth of a pair than which there is no better one.
const full = 8

// most bounds the table of alignRest.
const most = 1 << 26

// worth makes any pair that is alike worth as much as another.
func worth[E, F any](alike func(a E, b F) bool) func(a E, b F) int32 {
	return func(a E, b F) int32 {
		if alike(a, b) {
			return full
		}
		return 0
	}
}

// alignRest is align for lists that are known to differ. It gives up on lists that are too long.
func alignRest[E, F any](a []E, b []F, worth func(a E, b F) int32) [][2]int {
	if len(a)*len(b) > most {
		return nil
	}
	// best[i][j] is the most that a[i:] and b[j:] are worth.
	best := make([][]int32, len(a)+1)
	for i := range best {
		best[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			best[i][j] = max(best[i+1][j], best[i][j+1])
			if w := worth(a[i], b[j]); w > 0 {
				best[i][j] = max(best[i][j], best[i+1][j+1]+w)
			}
		}
	}
	var pairs [][2]int
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch w := worth(a[i], b[j]); {
		case w > 0 && best[i][j] == best[i+1][j+1]+w:
			pairs = append(pairs, [2]int{i, j})
			i, j = i+1, j+1
		case best[i][j] == best[i+1][j]:
			i++
		default:
			j++
		}
	}
	return pairs
}
