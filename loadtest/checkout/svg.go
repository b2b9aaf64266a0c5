package main

import (
	"bytes"
	"fmt"
	"html"

	"doorbuster/loadtest/internal/figures"
)

// A bar is one line of the chart.
type bar struct {
	label string
	value float64
	kind  string // class of the style sheet; "" begins a group whose title is the label
}

// bars are what is worth a picture: the first number of connections through HTTP, and everything in PostgreSQL alone.
func bars(loads []*load, ways []*way) []bar {
	hot, spread := loads[0], loads[1]
	all := []bar{
		{label: fmt.Sprintf("Checkouts through HTTP, %d buyers", hot.connections)},
		{"group commit, one hot SKU", hot.rate(ours).Median, "ours"},
		{"group commit, 1,000 SKUs", spread.rate(ours).Median, "ours"},
		{"plain, one hot SKU", hot.rate(hot.betterPlain()).Median, "plain"},
		{"plain, 1,000 SKUs", spread.rate(spread.betterPlain()).Median, "plain"},
		{label: "PostgreSQL alone (another scale), one hot SKU unless it says otherwise"},
	}
	for _, w := range ways {
		kind := "alone"
		if w.orders > 1 {
			kind = "batch"
		}
		all = append(all, bar{w.name, figures.Of(w.rates).Median, kind})
	}
	return all
}

// Measures of the chart, in pixels.
const (
	chartWidth = 760
	lineHeight = 24
	labelWidth = 220
	barsWidth  = chartWidth - labelWidth - 90 // the rest is for numbers
)

// The colours have enough contrast on white and on GitHub's dark grey; text follows the scheme of the reader.
const style = `
    text { font: 13px system-ui, sans-serif; fill: #1f2328; }
    .title { font-weight: 600; }
    .ours { fill: #1a7f37; } .plain { fill: #bc4c00; } .alone { fill: #6e7781; } .batch { fill: #2f7fd0; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .ours { fill: #3fb950; } .plain { fill: #f0883e; } .alone { fill: #8b949e; } .batch { fill: #58a6ff; }
    }
`

// chart draws the bars of each group to a scale of its own: on one for all, what the shop does would be a few pixels. Each
// has its number beside it, so that nobody has to guess.
func chart(bars []bar) []byte {
	var out bytes.Buffer
	height := (len(bars) + 2) * lineHeight
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="Orders per second">
  <style>%s  </style>
  <text x="0" y="16" class="title">Orders per second</text>
`, chartWidth, height, chartWidth, height, style)
	y, longest := lineHeight, 1.0
	for i, b := range bars {
		label := html.EscapeString(b.label)
		if b.kind == "" {
			y += lineHeight / 2
			longest = longestOf(bars[i+1:])
			fmt.Fprintf(&out, "  <text x=\"0\" y=\"%d\" class=\"title\">%s</text>\n", y+16, label)
		} else {
			width := b.value / longest * barsWidth
			fmt.Fprintf(&out, "  <text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", labelWidth-8, y+16, label)
			fmt.Fprintf(&out, "  <rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"16\" rx=\"2\" class=\"%s\"/>\n", labelWidth, y+4, width, b.kind)
			fmt.Fprintf(&out, "  <text x=\"%.1f\" y=\"%d\">%s</text>\n", labelWidth+width+6, y+16, figures.Thousands(b.value))
		}
		y += lineHeight
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// longestOf is the largest value before the next group.
func longestOf(bars []bar) float64 {
	longest := 1.0
	for _, b := range bars {
		if b.kind == "" {
			break
		}
		longest = max(longest, b.value)
	}
	return longest
}
