// The shop's page for browsers, from the data of /productpage. Nothing but text and stars.

interface Review {
  readonly reviewer: string;
  readonly text: string;
  readonly rating?: { readonly stars?: number; readonly color?: string; readonly error?: string };
}

interface Page {
  readonly product: { readonly title: string; readonly description: string };
  readonly details: { readonly status: number; readonly body: Readonly<Record<string, unknown>> };
  readonly reviews: {
    readonly status: number;
    readonly body: { readonly reviews?: readonly Review[]; readonly pod?: string; readonly version?: string };
  };
}

const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string): string => text.replace(/[&<>"]/g, (char) => escapes[char] ?? char);

function stars({ rating }: Review): string {
  if (rating === undefined) return '';
  if (rating.stars === undefined) return `<p><em>${escaped(rating.error ?? '')}</em></p>`;
  const color = rating.color === 'red' ? 'red' : 'black';
  return `<p style="color: ${color}">${'★'.repeat(rating.stars)}${'☆'.repeat(Math.max(0, 5 - rating.stars))}</p>`;
}

export function pageHtml(data: unknown): string {
  const { product, details, reviews } = data as Page;
  const about =
    details.status === 200
      ? `<dl>${['author', 'year', 'type', 'pages', 'publisher', 'language', 'ISBN-13']
          .map((name) => `<dt>${name}</dt><dd>${escaped(String(details.body[name] ?? ''))}</dd>`)
          .join('')}</dl>`
      : '<p><em>The details of this book cannot be shown just now.</em></p>';
  const said =
    reviews.status === 200
      ? (reviews.body.reviews ?? [])
          .map(
            (one) => `<blockquote>${escaped(one.text)} — ${escaped(one.reviewer)}</blockquote>${stars(one)}`,
          )
          .join('\n')
      : '<p><em>The reviews of this book cannot be shown just now.</em></p>';
  const by = `${escaped(reviews.body.version ?? '')} ${escaped(reviews.body.pod ?? '')}`.trim();
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Simple Bookstore App</title></head>
<body>
<h1>${escaped(product.title)}</h1>
<p>${escaped(product.description)}</p>
<h2>Details</h2>
${about}
<h2>Reviews</h2>
${said}
<p><small>${by === '' ? '' : `reviews by ${by}`}</small></p>
</body>
</html>
`;
}
