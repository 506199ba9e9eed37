// The one book of the shop.

export const product = {
  id: 0,
  title: 'The Comedy of Errors',
  description: 'Two pairs of twins, parted by a storm, meet in Ephesus, where nobody tells them apart.',
} as const;

export const details = {
  id: 0,
  author: 'William Shakespeare',
  year: 1595,
  type: 'paperback',
  pages: 200,
  publisher: 'Aura Books',
  language: 'English',
  'ISBN-10': '1234567890',
  'ISBN-13': '123-1234567890',
} as const;

export const ratings: Readonly<Record<string, number>> = { Reviewer1: 5, Reviewer2: 4 };

export const reviewTexts = [
  { reviewer: 'Reviewer1', text: 'Short, loud, and over before anybody knows who is who.' },
  { reviewer: 'Reviewer2', text: 'Good fun, though one letter home would have ended it in the first act.' },
] as const;
